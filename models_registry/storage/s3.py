"""A blob store in an S3 bucket."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import boto3
from botocore.client import Config
from botocore.exceptions import BotoCoreError, ClientError

BLOCK_BYTES = 256 * 1024
_MISSING = ("404", "NoSuchKey", "NotFound")


class S3BlobStore:
    """Objects named by their keys. boto3 uploads in parts; an object is seen only when it is complete."""

    def __init__(self, bucket: str, endpoint_url: str | None, access_key: str, secret_key: str) -> None:
        self.bucket = bucket
        self.client = boto3.client(
            "s3",
            endpoint_url=endpoint_url,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            region_name="us-east-1",
            config=Config(
                signature_version="s3v4",
                s3={"addressing_style": "path"},
                connect_timeout=5,
                read_timeout=60,
                retries={"max_attempts": 4, "mode": "standard"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    def put_file(self, key: str, path: Path) -> None:
        self.client.upload_file(str(path), self.bucket, key)
        path.unlink()

    def size(self, key: str) -> int:
        try:
            return int(self.client.head_object(Bucket=self.bucket, Key=key)["ContentLength"])
        except ClientError as error:
            raise _translated(error, key) from error

    def exists(self, key: str) -> bool:
        try:
            self.size(key)
        except KeyError:
            return False
        return True

    def open(self, key: str) -> BinaryIO:
        return cast(BinaryIO, io.BufferedReader(_RangedReader(self, key), BLOCK_BYTES))

    def read_range(self, key: str, start: int, length: int) -> Iterator[bytes]:
        if length <= 0:
            return
        try:
            body = self.client.get_object(Bucket=self.bucket, Key=key, Range=f"bytes={start}-{start + length - 1}")[
                "Body"
            ]
        except ClientError as error:
            raise _translated(error, key) from error
        with body:
            yield from body.iter_chunks(BLOCK_BYTES)

    def local_path(self, key: str) -> Path | None:
        return None

    def delete(self, key: str) -> None:
        self.client.delete_object(Bucket=self.bucket, Key=key)

    def keys(self, kind: str) -> Iterator[str]:
        for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=f"{kind}/"):
            for item in page.get("Contents", []):
                yield item["Key"]

    def presigned_url(self, key: str, seconds: int = 3600) -> str:
        """A URL which anyone may GET for a while, ranges included."""
        params = {"Bucket": self.bucket, "Key": key}
        return str(self.client.generate_presigned_url("get_object", Params=params, ExpiresIn=seconds))

    def check(self) -> None:
        try:
            self.client.head_bucket(Bucket=self.bucket)
        except (ClientError, BotoCoreError) as error:
            raise OSError(f"the bucket {self.bucket} can not be reached: {error}") from error


class _RangedReader(io.RawIOBase):
    """Seeks without cost; each read is one ranged GET (wrapped in a buffer by `open`)."""

    def __init__(self, store: S3BlobStore, key: str) -> None:
        self.store, self.key, self.length, self.position = store, key, store.size(key), 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.length}[whence]
        self.position = max(0, base + offset)
        return self.position

    def tell(self) -> int:
        return self.position

    def readinto(self, buffer: Any) -> int:
        wanted = min(len(buffer), self.length - self.position)
        if wanted <= 0:
            return 0
        data = b"".join(self.store.read_range(self.key, self.position, wanted))
        buffer[: len(data)] = data
        self.position += len(data)
        return len(data)


def _translated(error: ClientError, key: str) -> Exception:
    if error.response.get("Error", {}).get("Code") in _MISSING:
        return KeyError(key)
    return OSError(f"the object store refused {key}: {error}")
