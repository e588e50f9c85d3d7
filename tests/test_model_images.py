"""The default model of a spec with tensors: what numpy says that it computes, and what it keeps."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from pipeline.guard import guarded
from pipeline.manifest import Feature, Label, Spec
from pipeline.train.model import build_model
from pipeline.train.stage import compile_model
from tests.conftest import find_dataset

Array = npt.NDArray[Any]
MEAN, VARIANCE = 100.0, 400.0


def tensor(name: str, *shape: int, mean: float = MEAN, variance: float = VARIANCE) -> Feature:
    return Feature(
        name=name, kind="tensor", dtype="float32", shape=shape, stored="uint8",
        mean=mean, variance=variance,
    )  # fmt: skip


def make_spec(*features: Feature, classes: int = 10, dtype: Any = "float32") -> Spec:
    label = Label(name="y", kind="int", task="classification", classes=tuple(range(classes)))
    return Spec(features=features, label=label, training_dtype=dtype, layout="row", block_rows=1024)


def build(spec: Spec, **options: Any) -> Any:
    keras.utils.set_random_seed(0)
    return build_model(spec, **options)


def draw(*shape: int) -> Array:
    return np.random.default_rng(1).integers(0, 256, shape).astype(np.float32)


def normalise(x: Array) -> Array:
    return (x - 100.0) / 20.0


def convolve(x: Array, kernel: Array, bias: Array) -> Array:
    """Correlate `(batch, h, w, c)` with `(3, 3, c, filters)`, zeros around it."""
    height, width = x.shape[1:3]
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    total = np.zeros((*x.shape[:3], kernel.shape[3]))
    for i in range(3):
        for j in range(3):
            total += padded[:, i : i + height, j : j + width] @ kernel[i, j]
    return total + bias


def pool(x: Array) -> Array:
    """Take the largest of each two by two; an odd side ends in a half window."""
    batch, height, width, channels = x.shape
    odd = ((0, 0), (0, height % 2), (0, width % 2), (0, 0))
    even = np.pad(x, odd, constant_values=-np.inf)
    return even.reshape(batch, (height + 1) // 2, 2, (width + 1) // 2, 2, channels).max((2, 4))


def test_an_image_goes_through_convolutions_as_numpy_computes_them() -> None:
    x = draw(3, 9, 6, 2)
    model = build(make_spec(tensor("image", 9, 6, 2)), hidden=(5,), activation="tanh")
    kernel, bias, kernel2, bias2, *dense = map(np.asarray, model.get_weights())
    # A side of 9 is above 4 after one block, and not after two.
    first = pool(np.tanh(convolve(normalise(x), kernel, bias)))
    second = pool(np.tanh(convolve(first, kernel2, bias2)))
    assert second.shape[1:3] == (3, 2)
    hidden = np.tanh(second.reshape(3, -1) @ dense[0] + dense[1])
    np.testing.assert_allclose(model({"image": x}), hidden @ dense[2] + dense[3], atol=1e-4)


@pytest.mark.parametrize("shape", [(7,), (4, 3), (2, 3, 2, 2)])
def test_another_rank_is_flattened_and_goes_through_dense_layers(shape: tuple[int, ...]) -> None:
    x = draw(4, *shape)
    x[0] = 1e6
    model = build(make_spec(tensor("t", *shape)), hidden=(5,))
    first, first_bias, last, last_bias = map(np.asarray, model.get_weights())
    # What is far outside the train split says as much as ten deviations.
    flat = normalise(x).reshape(4, -1).clip(-10, 10)
    hidden = np.maximum(flat @ first + first_bias, 0)
    np.testing.assert_allclose(model({"t": x}), hidden @ last + last_bias, atol=1e-4)


def test_a_tensor_of_one_value_in_every_row_is_only_centred() -> None:
    model = build(make_spec(tensor("t", 2, mean=3.0, variance=0.0)), hidden=())
    kernel, bias = map(np.asarray, model.get_weights())
    x = np.array([[3.0, 4.0]], np.float32)
    np.testing.assert_allclose(model({"t": x}), [[0.0, 1.0]] @ kernel + bias, rtol=1e-6)


def test_images_stand_beside_other_features() -> None:
    spec = make_spec(
        Feature(name="mass", kind="float", dtype="float32", mean=1.0, variance=4.0),
        Feature(name="colour", kind="string", dtype="int64", vocabulary=("red", "blue")),
        tensor("photo/front", 8, 8, 3),
    )
    model = build(spec, hidden=())
    mass, colour = np.array([[2.0], [0.0]], np.float32), np.array([[1], [2]])
    photo = draw(2, 8, 8, 3)
    kernel = np.asarray(model.get_weights()[-2])
    assert len(kernel) == 1 + 3 + 4 * 4 * 16
    given = {"mass": mass, "colour": colour, "photo/front": photo}
    ours = np.asarray(model(given)) - np.asarray(model(given | {"mass": 0 * mass + 1}))
    # One more unit of mass is half a deviation.
    np.testing.assert_allclose(ours, (mass - 1) / 2 * kernel[0], atol=1e-5)
    ours = np.asarray(model(given)) - np.asarray(model(given | {"colour": 0 * colour}))
    np.testing.assert_allclose(ours, kernel[[2, 3]] - kernel[1], atol=1e-5)


@pytest.mark.parametrize("training", [False, True])
def test_a_row_never_feels_its_neighbour(training: bool) -> None:
    model = build(make_spec(tensor("image", 12, 12, 1)))
    x = draw(6, 12, 12, 1)
    broken = x.copy()
    broken[2, 5, 5] = np.nan
    rest = [0, 1, 3, 4, 5]
    clean = np.asarray(model({"image": x}, training=training))
    spoiled = np.asarray(model({"image": broken}, training=training))
    assert np.isfinite(clean).all()
    np.testing.assert_array_equal(spoiled[rest], clean[rest])


def test_the_guard_names_the_image_that_is_not_finite() -> None:
    spec = make_spec(tensor("image", 8, 8, 1))
    x, y = draw(24, 8, 8, 1), np.arange(24) % 10
    x[13, 2, 3] = np.inf
    model = guarded(build(spec), max_skipped_ratio=1.0)
    compile_model(model, spec, 0.001)
    rows = {"image": x, "row_id": np.arange(100, 124)}
    model.fit(tf.data.Dataset.from_tensor_slices((rows, y)).batch(8), shuffle=False, verbose=0)
    assert [row.row_id for i in model.guard.incidents for row in i.rows] == [113]
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


def test_a_saved_model_predicts_the_same_with_keras_alone(tmp_path: Path) -> None:
    model = build(make_spec(tensor("image", 10, 7, 3), tensor("vector", 5)))
    rows = {"image": draw(4, 10, 7, 3), "vector": draw(4, 5)}
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(np.asarray(again(rows)), np.asarray(model(rows)))


def test_float16_computes_in_halves_and_answers_in_float32() -> None:
    spec = make_spec(tensor("image", 16, 16, 1), dtype="float16")
    model = build(spec)
    computed = {layer.compute_dtype for layer in model.layers if layer.name.startswith("conv")}
    assert computed == {"float16"}
    assert {str(weight.dtype) for weight in model.trainable_weights} == {"float32"}
    x = draw(3, 16, 16, 1)
    exact = build(make_spec(tensor("image", 16, 16, 1)))
    answer = model({"image": x})
    assert answer.dtype == tf.float32
    np.testing.assert_allclose(answer, exact({"image": x}), atol=0.05)


@pytest.mark.parametrize(
    ("shape", "map_size"),
    [
        ((1, 1, 1), 1 * 1 * 16),
        ((28, 28, 1), 4 * 4 * 64),
        ((2, 100, 3), 1 * 4 * 128),
        ((224, 224, 3), 4 * 4 * 128),
    ],
)
def test_an_image_of_any_size_ends_in_a_small_map(shape: tuple[int, ...], map_size: int) -> None:
    model = build(make_spec(tensor("image", *shape)), hidden=(7,))
    assert model.get_weights()[-4].shape == (map_size, 7)
    assert model.count_params() < 600_000
    assert model({"image": draw(2, *shape)}).shape == (2, 10)


def test_a_number_is_learned_from_an_image_too() -> None:
    label = Label(name="y", kind="float", task="regression", mean=50.0, variance=9.0)
    spec = make_spec(tensor("image", 8, 8, 1)).model_copy(update={"label": label})
    model = build_model(spec, hidden=())
    assert model({"image": draw(2, 8, 8, 1)}).shape == (2, 1)
    kernel, bias = model.layers[-2].get_weights()
    model.layers[-2].set_weights([0 * kernel, 0 * bias + 2.0])
    np.testing.assert_allclose(model({"image": draw(1, 8, 8, 1)}), [[50.0 + 2.0 * 3.0]])


def read_idx(path: Path, header: int) -> Array:
    return np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=header)


def test_notmnist_is_learned_in_a_few_epochs() -> None:
    folder = find_dataset("notmnist_idx")
    images = read_idx(folder / "t10k-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28, 1)
    labels = read_idx(folder / "t10k-labels-idx1-ubyte.gz", 8).astype(np.int64)
    order = np.random.default_rng(0).permutation(len(images))
    train, test = order[:8000], order[8000:]
    mean, variance = float(images[train].mean()), float(images[train].var())
    spec = make_spec(tensor("image", 28, 28, 1, mean=mean, variance=variance))
    model = build(spec)
    compile_model(model, spec, 0.001)
    model.fit(
        {"image": images[train].astype("float32")}, labels[train], batch_size=64, epochs=2,
        verbose=0,
    )  # fmt: skip
    predicted = model.predict({"image": images[test].astype("float32")}, verbose=0).argmax(1)
    assert (predicted == labels[test]).mean() > 0.85
