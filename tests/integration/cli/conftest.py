from tests.support.sidecars import sidecar

__all__ = ["sidecar"]
