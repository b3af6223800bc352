"""A blob store in an S3 bucket."""

import io
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, cast

import boto3
from boto3.exceptions import S3UploadFailedError
from botocore.client import Config
from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError

from models_registry.errors import BadRequest, StorageUnavailable

logger = logging.getLogger(__name__)
BLOCK_BYTES = 256 * 1024
# A store which hangs is told of within half a minute, before clients and proxies give up by themselves.
CONNECT_SECONDS, READ_SECONDS, ATTEMPTS = 4, 8, 3
_MISSING = ("404", "NoSuchKey", "NotFound")
_RESUMES = 3  # of one download, when its connection breaks


class S3BlobStore:
    """Objects named by their keys. boto3 uploads in parts; an object is seen only when it is complete.

    Besides what every store does, clients can send parts and get ranges from S3 itself, by addresses which are signed
    for one object and a while. Every call raises StorageUnavailable (503) when the store fails or does not answer.
    """

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
                connect_timeout=CONNECT_SECONDS,
                read_timeout=READ_SECONDS,
                retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                max_pool_connections=32,
            ),
        )

    def put_file(self, key: str, path: Path) -> None:
        with _asked(key):
            self.client.upload_file(str(path), self.bucket, key)
        path.unlink()

    def size(self, key: str) -> int:
        with _asked(key):
            return int(self.client.head_object(Bucket=self.bucket, Key=key)["ContentLength"])

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
            return iter(())
        # Asked for at once: a store which is down is a status, not a body which breaks off.
        return self._stream(key, start, start + length, self._body(key, start, start + length))

    def local_path(self, key: str) -> Path | None:
        return None

    def delete(self, key: str) -> None:
        with _asked(key):
            self.client.delete_object(Bucket=self.bucket, Key=key)

    def keys(self, kind: str) -> Iterator[str]:
        with _asked(kind):
            for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=f"{kind}/"):
                for item in page.get("Contents", []):
                    yield item["Key"]

    def check(self) -> None:
        try:
            self.client.head_bucket(Bucket=self.bucket)
        except (ClientError, BotoCoreError) as error:
            raise OSError(f"the bucket {self.bucket} can not be reached: {error}") from error

    # --- what clients do with S3 itself ---------------------------------------------------------------------------
    def presigned_url(
        self, key: str, seconds: int = 3600, *, span: tuple[int, int] | None = None, name: str = ""
    ) -> str:
        """An address which anyone may GET for a while.

        Args:
            span: bytes from the first up to the second (not included), and no others: the request must ask for exactly
                this range. Without it, any range.
            name: under which a browser saves it.
        """
        params = {"Bucket": self.bucket, "Key": key}
        if span is not None:
            params["Range"] = f"bytes={span[0]}-{span[1] - 1}"
        if name:
            params["ResponseContentDisposition"] = f"attachment; filename*=UTF-8''{name}"
        return str(self.client.generate_presigned_url("get_object", Params=params, ExpiresIn=seconds))

    def begin_parts(self, key: str) -> str:
        """Begin an upload in parts; returns its id at the store."""
        with _asked(key):
            return str(self.client.create_multipart_upload(Bucket=self.bucket, Key=key)["UploadId"])

    def part_url(self, key: str, upload: str, number: int, seconds: int) -> str:
        """The address to which part `number` (from 1) is PUT."""
        params = {"Bucket": self.bucket, "Key": key, "UploadId": upload, "PartNumber": number}
        return str(self.client.generate_presigned_url("upload_part", Params=params, ExpiresIn=seconds))

    def finish_parts(self, key: str, upload: str, etags: Sequence[str]) -> None:
        """Put the parts together. BadRequest when one is missing or is not the one of its etag."""
        parts = [{"PartNumber": number, "ETag": f'"{etag}"'} for number, etag in enumerate(etags, 1)]
        try:
            with _asked(key):
                self.client.complete_multipart_upload(
                    Bucket=self.bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": parts}
                )
        except _Refused as error:
            raise BadRequest(f"The parts do not make up the file ({error.reason}): send them again.") from error

    def copy(self, key: str, to: str) -> None:
        """Inside the store; the bytes do not travel."""
        with _asked(key):
            self.client.copy({"Bucket": self.bucket, "Key": key}, self.bucket, to)

    def clear_up(self, before: datetime) -> int:
        """Forget uploads in parts from before a moment, never completed or never verified. Returns how many."""
        count = 0
        with _asked("incoming"):
            for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix="incoming/"):
                for item in page.get("Contents", []):
                    if item["LastModified"] < before:
                        self.client.delete_object(Bucket=self.bucket, Key=item["Key"])
                        count += 1
        with _asked("uploads"):
            for page in self.client.get_paginator("list_multipart_uploads").paginate(Bucket=self.bucket):
                for row in page.get("Uploads", []):
                    if row["Initiated"] < before:
                        self.client.abort_multipart_upload(Bucket=self.bucket, Key=row["Key"], UploadId=row["UploadId"])
                        count += 1
        return count

    def _body(self, key: str, start: int, end: int) -> Any:
        with _asked(key):
            return self.client.get_object(Bucket=self.bucket, Key=key, Range=f"bytes={start}-{end - 1}")["Body"]

    def _stream(self, key: str, start: int, end: int, body: Any) -> Iterator[bytes]:
        failures = 0
        while True:
            try:
                with body:
                    for block in body.iter_chunks(BLOCK_BYTES):
                        start += len(block)
                        yield block
                if start >= end:
                    return
                problem: Exception = OSError(f"{key} ended {end - start} bytes too early")
            except (BotoCoreError, HTTPError, OSError) as error:
                problem = error
            failures += 1
            if failures > _RESUMES:
                raise StorageUnavailable(_SENTENCE) from problem
            logger.warning("reading %s goes on at byte %d after: %s", key, start, problem)
            body = self._body(key, start, end)


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


_SENTENCE = "The hub's object store does not answer as it should: nothing was changed, try again in a minute."


class _Refused(StorageUnavailable):
    """The store understood, and said no. `reason` is S3's word."""

    def __init__(self, reason: str) -> None:
        super().__init__(_SENTENCE, {"Retry-After": "30"})
        self.reason = reason


@contextmanager
def _asked(key: str) -> Iterator[None]:
    """Turns what the store answers into KeyError (not there) or StorageUnavailable (all other trouble)."""
    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code in _MISSING:
            raise KeyError(key) from error
        logger.warning("the object store refused %s: %s", key, error)
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500))
        raise (_Refused(code) if status < 500 else StorageUnavailable(_SENTENCE, {"Retry-After": "30"})) from error
    except (BotoCoreError, S3UploadFailedError, HTTPError) as error:
        logger.warning("the object store failed at %s: %s", key, error)
        raise StorageUnavailable(_SENTENCE, {"Retry-After": "30"}) from error
