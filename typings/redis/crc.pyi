from .typing import EncodedT

REDIS_CLUSTER_HASH_SLOTS: int

__all__ = ["REDIS_CLUSTER_HASH_SLOTS", "key_slot"]

def key_slot(key: EncodedT, bucket: int = 16384) -> int: ...
