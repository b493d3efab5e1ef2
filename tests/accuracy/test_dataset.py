"""Labelled images are read as they lie, and what does not fit is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import torchvision_ops
from harness.accuracy import dataset
from harness.accuracy.dataset import Classes, Dataset
from harness.errors import DataInvalid


def folder(root: Path, **classes: int) -> Path:
    """A folder of so many empty image files a class."""
    for name, count in classes.items():
        (root / name).mkdir(parents=True)
        for i in range(count):
            (root / name / f"{i}.JPG").touch()
    return root


def labelled(*labels: str) -> Dataset:
    return Dataset(Path("set"), tuple(Path(f"{i}.png") for i in range(len(labels))), labels)


def test_a_folder_has_a_folder_per_class(tmp_path: Path) -> None:
    folder(tmp_path, cat=2, dog=1, empty=0)
    (tmp_path / "dog" / "deep").mkdir()
    (tmp_path / "dog" / "deep" / "x.png").touch()
    (tmp_path / "dog" / "notes.txt").touch()
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "y.png").touch()
    found = dataset.read(tmp_path)
    assert found.labels == ("cat", "cat", "dog", "dog")
    assert found.names == ("cat", "dog")


@pytest.mark.parametrize("header", ["path,label\n", "", "label,path\n"])
def test_a_csv_names_images_relative_to_itself(tmp_path: Path, header: str) -> None:
    rows = [("a.png", "7"), ("sub/b.png", "10")]
    lines = [f"{label},{path}" if header.startswith("label") else f"{path},{label}" for path, label in rows]
    file = tmp_path / "set.csv"
    file.write_text("\ufeff" + header + "\n".join(lines) + "\n\n", encoding="utf-8")
    found = dataset.read(file)
    assert found.images == (tmp_path / "a.png", tmp_path / "sub" / "b.png")
    assert found.names == ("7", "10")  # numbers, not words


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "names no image"),
        ("path,label\n", "names no image"),
        ("path,label\na.png\nb.png,\n", "line 2 has no path and label.*line 3"),
    ],
)
def test_a_csv_without_labels_is_refused(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "set.csv"
    file.write_text(content)
    with pytest.raises(DataInvalid, match=said):
        dataset.read(file)


def test_a_header_of_other_columns_is_no_image(tmp_path: Path) -> None:
    file = tmp_path / "set.csv"
    for header in ("filename,class", "image_id,label,split", "cat,a.png"):
        file.write_text(f"{header}\na.png,7\n")
        with pytest.raises(DataInvalid, match=rf"first line '{header}' names no image") as caught:
            dataset.read(file)
        assert "the header must be path,label" in caught.value.hint
    (tmp_path / "0001").touch()
    file.write_text("0001,cat\nabsent.png,dog\n")
    assert dataset.read(file).labels == ("cat", "dog"), "an image without a suffix, and no header"


def test_a_csv_that_is_none_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "set.csv"
    file.write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(DataInvalid, match=r"set\.csv cannot be read as CSV"):
        dataset.read(file)


def test_empty_and_missing_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataInvalid, match="holds no class folder with images"):
        dataset.read(tmp_path)
    (tmp_path / "a.png").touch()
    with pytest.raises(DataInvalid, match="its 1 images lie in no class folder") as caught:
        dataset.read(tmp_path)
    assert "CLASS/IMAGE" in caught.value.hint
    with pytest.raises(DataInvalid, match="no folder or CSV"):
        dataset.read(tmp_path / "absent")


def test_a_limit_spreads_over_the_classes(tmp_path: Path) -> None:
    found = dataset.read(folder(tmp_path, a=50, b=30, c=20)).limited(10)
    assert [found.labels.count(name) for name in "abc"] == [5, 3, 2]
    assert found.limited(99) is found


def test_a_limit_does_not_change_what_the_outputs_are() -> None:
    whole = labelled("a", "a", "b", "c", "c", "d", "d", "d")
    part = whole.limited(2)
    assert set(part.labels) == {"a", "c"}
    assert dataset.fit(part, dataset.classes_of(None, part, 4)) == (0, 2)
    with pytest.raises(DataInvalid, match="has 4 classes"):
        dataset.classes_of(None, part, 2)
    mixed = labelled("7", "cat").limited(1)
    with pytest.raises(DataInvalid, match="has 2 classes"):
        dataset.classes_of(None, mixed, 10)
    assert dataset.fit(labelled("0", "99").limited(1), Classes(("0", "1"), "indices")) == (0,)


def test_the_digest_follows_the_data_and_not_the_place(tmp_path: Path) -> None:
    one, two = dataset.read(folder(tmp_path / "one", a=2)), dataset.read(folder(tmp_path / "two", a=2))
    assert one.digest == two.digest
    assert one.digest != one.limited(1).digest
    (tmp_path / "two" / "a" / "1.JPG").write_bytes(b"x")
    assert one.digest != dataset.read(tmp_path / "two").digest


def test_names_get_indices_in_alphabetical_order() -> None:
    data = labelled("dog", "cat", "dog")
    assert dataset.fit(data, dataset.classes_of(None, data, 2)) == (1, 0, 1)


def test_the_order_of_timms_own_training_is_known_where_it_is_another() -> None:
    torchvision_ops.declare()
    from timm.utils.misc import natural_key

    names = ("Zebra", "apple", "class10", "class2", "class2b", "2nd", "10th")
    classes = dataset.classes_of(None, labelled(*names), len(names))
    assert classes.names == tuple(sorted(names))
    assert classes.timm == tuple(sorted(names, key=natural_key)) != classes.names
    assert dataset.classes_of(None, labelled("cat", "dog"), 2).timm == ()


def test_numbers_are_indices_even_where_some_are_absent() -> None:
    data = labelled("7", "07", "999")
    assert dataset.fit(data, dataset.classes_of(None, data, 1000)) == (7, 7, 999)
    assert dataset.fit(data, dataset.classes_of("imagenet", data, 1000)) == (7, 7, 999)


def test_wordnet_ids_are_imagenets_classes() -> None:
    data = labelled("n15075141", "n01440764", "n01443537")
    for given in (None, "imagenet"):
        assert dataset.fit(data, dataset.classes_of(given, data, 1000)) == (999, 0, 1)
    assert dataset.fit(data, dataset.classes_of(None, data, 3)) == (2, 0, 1)  # three classes of one's own


def test_a_file_gives_the_order(tmp_path: Path) -> None:
    file = tmp_path / "classes.txt"
    file.write_text("dog\n\ncat\nhorse\n")
    data = labelled("cat", "dog")
    assert dataset.fit(data, dataset.classes_of(str(file), data, 3)) == (1, 0)
    with pytest.raises(DataInvalid, match="3 classes, but the backbone has 4 outputs"):
        dataset.classes_of(str(file), data, 4)
    file.write_text("n01440764 tench\nn01443537 goldfish\n")
    assert dataset.classes_of(str(file), data, 2).names == ("n01440764", "n01443537")
    file.write_text("dog\ndog\n")
    with pytest.raises(DataInvalid, match="twice: dog"):
        dataset.classes_of(str(file), data, 2)
    with pytest.raises(DataInvalid, match="cannot be read: No such file"):
        dataset.classes_of("absent.txt", data, 2)


def test_classes_that_do_not_fit_the_backbone_are_refused() -> None:
    data = labelled("cat", "dog", "horse", "mouse")
    with pytest.raises(
        DataInvalid, match=r"4 classes \(cat, dog, horse, … \(4 in all\)\), but the backbone has 1000"
    ) as caught:
        dataset.classes_of(None, data, 1000)
    assert "--classes FILE" in caught.value.hint
    with pytest.raises(DataInvalid, match="1000 classes, but the backbone has 4 outputs"):
        dataset.classes_of("imagenet", labelled("n01440764"), 4)


def test_labels_outside_the_classes_are_named_with_their_number() -> None:
    data = labelled("1", "10", "12", "10")
    with pytest.raises(DataInvalid, match=r"2 of the labels \(10, 12; 3 images\) are none of the 10 classes"):
        dataset.fit(data, dataset.classes_of(None, data, 10))
    with pytest.raises(DataInvalid, match=r"\(bird; 1 images\)"):
        dataset.fit(labelled("bird", "cat"), Classes(("cat", "dog"), "a file"))
