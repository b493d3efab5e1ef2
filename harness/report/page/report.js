"use strict";
// Draws the charts and makes the table sortable. All libraries are in this file, compressed; nothing is fetched.
(async () => {
  const element = (id) => document.getElementById(id);

  async function unpacked(id) {
    const bytes = Uint8Array.from(atob(element(id).textContent), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).text();
  }

  async function drawCharts() {
    const { specs, config } = JSON.parse(await unpacked("data"));
    const library = document.createElement("script");
    library.textContent = await unpacked("vega");
    document.head.append(library);
    for (const [number, spec] of specs.entries()) {
      const options = { actions: false, renderer: "svg", config, tooltip: { theme: "page" } };
      const place = element(`chart-${number}`);
      wrapLegends(spec, Math.max(1, Math.floor(place.clientWidth / 130)));
      await vegaEmbed(place, spec, options);
    }
  }

  // Vega lets a legend that is wider than its chart run out of it.
  function wrapLegends(part, columns) {
    if (!part || typeof part !== "object") return;
    if (part.legend?.columns > columns) part.legend.columns = columns;
    for (const [name, inner] of Object.entries(part)) if (name !== "datasets") wrapLegends(inner, columns);
  }

  async function makeTable() {
    const source = URL.createObjectURL(new Blob([await unpacked("datatables")], { type: "text/javascript" }));
    const { default: DataTable } = await import(source);
    URL.revokeObjectURL(source);
    const table = new DataTable("#listing", {
      order: [], pageLength: 25, lengthMenu: [25, 100, { label: "all", value: -1 }], autoWidth: false,
      layout: { topStart: "search", topEnd: "pageLength", bottomStart: "info", bottomEnd: "paging" },
      language: { search: "Search the cells", lengthMenu: "_MENU_ cells per page", info: "_START_–_END_ of _TOTAL_ cells",
        infoEmpty: "no cells", infoFiltered: "(of _MAX_)", zeroRecords: "No cell fits the search and the filters.",
        emptyTable: "This report has no cells." },
    });
    filter(table);
    let length = 0;
    addEventListener("beforeprint", () => { length = table.page.len(); if (table.rows().count() <= 400) table.page.len(-1).draw(); });
    addEventListener("afterprint", () => { if (table.page.len() !== length) table.page.len(length).draw(); });
  }

  function filter(table) {
    const form = document.querySelector(".filters");
    form.hidden = !form.querySelector("select");
    const choose = (select) => table.column(Number(select.dataset.column)).search(select.value, { exact: Boolean(select.value) });
    form.addEventListener("change", (event) => choose(event.target).draw());
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("reset", () => {
      form.querySelectorAll("select").forEach((select) => table.column(Number(select.dataset.column)).search(""));
      table.search("").draw();
    });
  }

  const printed = () => document.querySelectorAll("details").forEach((one) => { one.open = false; });
  addEventListener("beforeprint", printed);
  try {
    await makeTable();
    await drawCharts();
    document.documentElement.dataset.ready = "yes";
  } catch (error) {
    const trouble = element("trouble");
    trouble.textContent = `This browser cannot draw the charts or sort the table (${error.message}); all figures are in the tables below.`;
    trouble.hidden = false;
    throw error;
  }
})();
