"""Networks of images: MNIST, CIFAR-10, ImageNet and faces. Views are flips and crops, since images are few."""

from pathlib import Path

import numpy as np
from PIL import Image

from tests.benchmarks.compression.tasks.base import SINGLE, Feed, Rows, existing

CALIBRATION, HELD_BACK, MNIST_EVALUATION = 200, 256, 4000
IMAGENET_MEAN, IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CAFFE_MEAN_BGR = (104.0, 117.0, 123.0)


def _feeds(name: str, arrays: list[np.ndarray]) -> list[Feed]:
    return [{name: np.ascontiguousarray(array[None].astype(np.float32))} for array in arrays]


def mnist(model: str, assets: Path) -> Rows:
    """Test images judge; the calibration part of the file is split in two."""
    stored = np.load(existing(assets / "trained" / "mnist-data" / "mnist.npz"))
    given = [image[None] / 255 for image in stored["x_calib"][: CALIBRATION + HELD_BACK]]
    tests = [image[None] / 255 for image in stored["x_test"][:MNIST_EVALUATION]]
    return Rows(
        {"model.onnx": existing(assets / "trained" / model / "model.onnx")},
        {SINGLE: _feeds("input", given[:CALIBRATION])}, {SINGLE: _feeds("input", given[CALIBRATION:])},
        {SINGLE: _feeds("input", tests)}, "cosine", "image", labels=stored["y_test"][:MNIST_EVALUATION].astype(int),
    )  # fmt: skip


def cifar(_model: str, assets: Path) -> Rows:
    """Every third image calibrates with its mirror image (shifted ones are held back); the others judge with theirs."""
    mean, deviation = (np.asarray(v)[:, None, None] for v in (IMAGENET_MEAN, IMAGENET_DEVIATION))
    folder = existing(assets / "datasets" / "cifar10-300" / "test")
    given, held, tests, labels = [], [], [], []
    classes = sorted(path.name for path in folder.iterdir())
    for number, path in enumerate(sorted(folder.rglob("*.jpg"))):
        pixels = np.asarray(Image.open(path).convert("RGB")).transpose(2, 0, 1) / 255
        image = (pixels - mean) / deviation
        views = [image, image[..., ::-1]]
        if number % 3:
            tests += views
            labels += [classes.index(path.parent.name)] * len(views)
        else:
            given += views
            held.append(np.roll(image, (2, 2), axis=(1, 2)))
    return Rows(
        {"model.onnx": existing(assets / "trained" / "resnet20-cifar10" / "model.onnx")},
        {SINGLE: _feeds("input", given)}, {SINGLE: _feeds("input", held)},
        {SINGLE: _feeds("input", tests)}, "cosine", "image", labels=np.asarray(labels),
    )  # fmt: skip


def imagenet(_model: str, assets: Path) -> Rows:
    """Every third image calibrates (its corner is held back); of the others centre and corner judge, mirrored or not."""
    mean = np.asarray(CAFFE_MEAN_BGR)[:, None, None]
    folder = existing(assets / "datasets" / "imagenet-sample-100")
    given, held, tests, labels = [], [], [], []
    for number, path in enumerate(sorted(folder.glob("*.JPEG"))):
        image = Image.open(path).convert("RGB")
        scale = 256 / min(image.size)
        image = image.resize((max(256, round(image.width * scale)), max(256, round(image.height * scale))))
        pixels = np.asarray(image).transpose(2, 0, 1)[::-1] - mean
        top, left = (pixels.shape[1] - 224) // 2, (pixels.shape[2] - 224) // 2
        centre, corner = pixels[:, top : top + 224, left : left + 224], pixels[:, :224, :224]
        whole, part = [centre, centre[..., ::-1]], [corner, corner[..., ::-1]]
        if number % 3:
            tests += whole + part
            labels += [number * 10] * 4
        else:
            given += whole
            held += part
    return Rows(
        {"model.onnx": existing(assets / "trained" / "squeezenet1.1-fp32" / "model.onnx")},
        {SINGLE: _feeds("data_0", given)}, {SINGLE: _feeds("data_0", held)},
        {SINGLE: _feeds("data_0", tests)}, "cosine", "image", labels=np.asarray(labels),
    )  # fmt: skip


def faces(_model: str, assets: Path) -> Rows:
    """Every third photograph calibrates; crops and mirror images of the others judge."""
    folder = existing(assets / "models" / "ultraface-rfb-320")
    given, tests = [], []
    for number, path in enumerate(sorted((folder / "images").glob("*.jpg"))):
        (tests if number % 3 else given).extend(_views(Image.open(path).convert("RGB"), number))
    cut = len(given) * 4 // 5
    return Rows(
        {"model.onnx": existing(folder / "version-RFB-320.onnx")},
        {SINGLE: _feeds("input", given[:cut])}, {SINGLE: _feeds("input", given[cut:])},
        {SINGLE: _feeds("input", tests)}, "cosine", "image",
    )  # fmt: skip


def _views(image: Image.Image, seed: int, crops: int = 15) -> list[np.ndarray]:
    """The whole picture and random crops of at least half a side, each mirrored too, as (x − 127) ÷ 128."""
    rng, found = np.random.default_rng(seed), []
    for number in range(crops + 1):
        share = 1.0 if number == 0 else rng.uniform(0.5, 1.0)
        width, height = int(image.width * share), int(image.height * share)
        left, top = int(rng.uniform(0, image.width - width + 1)), int(rng.uniform(0, image.height - height + 1))
        part = image.crop((left, top, left + width, top + height)).resize((320, 240))
        pixels = (np.asarray(part).transpose(2, 0, 1) - 127.0) / 128.0
        found += [pixels, pixels[..., ::-1]]
    return found
