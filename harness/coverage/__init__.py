"""Which architectures of timm can be deployed: each is created, exported, opened in every runtime and compared."""
