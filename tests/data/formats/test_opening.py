"""Images are opened as they are, or refused with an error of ours that names file and cause."""

import io
import os
import struct
import zlib
from itertools import product

import numpy as np
import pytest
from PIL import Image, ImageOps

from suite.data.formats.bit_depth import eight_bits
from suite.data.formats.image_files import Photo
from suite.data.formats.mask_files import read_mask
from suite.data.formats.opening import open_image
from suite.data.formats.pixel_format import PixelFormat, agreed_bits, left_out
from suite.errors import DataError

NOISE = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)

KINDS = {
    "png": ("PNG", {}),
    "jpg": ("JPEG", {}),
    "progressive": ("JPEG", {"progressive": True}),
    "bmp": ("BMP", {}),
    "gif": ("GIF", {}),
    "tif": ("TIFF", {}),
    "lzw": ("TIFF", {"compression": "tiff_lzw"}),
    "webp": ("WEBP", {}),
    "ppm": ("PPM", {}),
    "avif": ("AVIF", {}),
    "dds": ("DDS", {}),
    "jp2": ("JPEG2000", {}),
}


def encoded(image, kind="PNG", **options):
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def saved(file, content):
    file.write_bytes(content)
    return file


def deep_png(values, color=0):
    """Return a PNG of 16 bits per channel, (h, w, channels); color 0 is gray, 2 RGB, 6 RGBA."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    size = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, color, 0, 0, 0)
    chunks = ((b"IHDR", size), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    packed = (
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


# -- damaged files


@pytest.mark.parametrize(("kind", "options"), KINDS.values(), ids=KINDS)
def test_truncated_files_are_rejected_by_name(tmp_path, kind, options):
    content = encoded(Image.fromarray(NOISE), kind, **options)
    for length in np.linspace(0, len(content) - 32, 60).astype(int):
        file = saved(tmp_path / f"cut{length}.png", content[:length])
        with pytest.raises(DataError, match=f"cut{length}.png"):
            Photo(file, 8).pixels()


@pytest.mark.parametrize(("kind", "options"), KINDS.values(), ids=KINDS)
def test_damaged_files_raise_nothing_but_our_own_errors(tmp_path, kind, options):
    content, rng = encoded(Image.fromarray(NOISE), kind, **options), np.random.default_rng(1)
    for _ in range(60):
        damaged = bytearray(content)
        for position in rng.integers(0, min(len(content), 200), 4):
            damaged[position] = rng.integers(0, 256)
        file = saved(tmp_path / "x.png", bytes(damaged))
        for read in (Photo(file, 8).pixels, Photo(file).dimensions, lambda file=file: read_mask(file)):
            try:
                read()
            except DataError as error:
                assert "x.png" in str(error) or "pixels" in str(error) or "mask" in str(error)


ERRORS = [struct.error, KeyError, IndexError, TypeError, OverflowError, ZeroDivisionError, MemoryError, EOFError]
ERRORS += [AssertionError, RecursionError, SyntaxError, ValueError, OSError, RuntimeError, Image.DecompressionBombError]


@pytest.mark.parametrize("error", ERRORS)
def test_every_error_of_pillow_names_the_file(tmp_path, monkeypatch, error):
    file = saved(tmp_path / "x.png", encoded(Image.fromarray(NOISE)))

    def convert(*arguments):
        raise error("from within")

    monkeypatch.setattr(Image.Image, "convert", convert)
    with pytest.raises(DataError, match=rf"x\.png: {error.__name__}: .*from within"):
        Photo(file).pixels()


def test_an_image_that_would_fill_the_memory_is_rejected(tmp_path, monkeypatch):
    file = saved(tmp_path / "x.png", encoded(Image.fromarray(NOISE)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    with pytest.raises(DataError, match=r"x\.png: DecompressionBombError: .*192 pixels"):
        Photo(file).pixels()


DISGUISES = {
    b"": "an empty file: download or export it again",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:0": "a Git LFS pointer: run git lfs pull",
    b"\n <!DOCTYPE html><html>": "an HTML page, perhaps of a login or an error: download the file itself",
    b'{"error": 404}': "a JSON text, perhaps the answer of a server: download the file itself",
    b"<svg xmlns='x'>": "an XML text or SVG drawing",
    b"\0" * 99: "a file of zeros, as a download or copy that was interrupted leaves it: get it again",
    b"%PDF-1.4": "a PDF document",
}


@pytest.mark.parametrize(("content", "what"), DISGUISES.items(), ids=DISGUISES.values())
def test_what_is_no_image_is_called_what_it_is(tmp_path, content, what):
    with pytest.raises(DataError) as caught:
        Photo(saved(tmp_path / "x.jpg", content)).pixels()
    assert str(caught.value) == f"x.jpg is not an image but {what}"


def test_an_unknown_file_is_named_with_its_first_bytes(tmp_path):
    with pytest.raises(
        DataError, match=r"x.jpg is not an image that can be read \(12 bytes, the first are b'hello wo'\)"
    ):
        Photo(saved(tmp_path / "x.jpg", b"hello world!")).pixels()


def test_formats_that_run_programs_or_have_no_signature_are_not_opened(tmp_path):
    for kind in ("EPS", "TGA"):
        with pytest.raises(DataError, match="not an image that can be read"):
            Photo(saved(tmp_path / "x.png", encoded(Image.fromarray(NOISE), kind))).pixels()


def test_special_files_are_refused_without_opening(tmp_path):
    os.mkfifo(tmp_path / "x.png")
    with pytest.raises(DataError, match=r"x\.png: a FIFO \(named pipe\), not a file with data"):
        Photo(tmp_path / "x.png").pixels()
    with pytest.raises(DataError, match=r"there is no file y\.png in"):
        Photo(tmp_path / "y.png").pixels()


# -- orientation


@pytest.mark.parametrize(("kind", "orientation"), [*product(("JPEG", "PNG", "TIFF", "WEBP"), range(1, 9))])
def test_images_are_turned_as_pillow_turns_them(tmp_path, kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"WEBP": {"lossless": True}}.get(kind, {})
    file = saved(tmp_path / "x.png", encoded(Image.fromarray(NOISE), kind, exif=exif, **options))
    with Image.open(file) as raw:
        expected = np.asarray(ImageOps.exif_transpose(raw).convert("RGB"))
    pixels = Photo(file).pixels()
    assert np.array_equal(np.moveaxis(pixels, 0, -1), expected)
    assert Photo(file).dimensions() == pixels.shape[:0:-1] == ((16, 12) if orientation < 5 else (12, 16))


def exif_block(*entries):
    """Return an EXIF block of entries of four bytes each: tag, type, count, value."""
    body = b"".join(struct.pack("<HHI", tag, kind, count) + raw.ljust(4, b"\0") for tag, kind, count, raw in entries)
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(entries)) + body + struct.pack("<I", 0)


TURNED = (0x0112, 3, 1, struct.pack("<H", 6))
SLIPS = {
    "none": (exif_block(TURNED), (12, 16)),
    "a resolution as text": (exif_block(TURNED, (0x011A, 2, 3, b"72\0")), (12, 16)),
    "a unit as bytes": (exif_block(TURNED, (0x0128, 7, 4, b"abcd")), (12, 16)),
    "an offset past the end": (exif_block(TURNED, (0x010F, 5, 1, struct.pack("<I", 9999))), (12, 16)),
    "an orientation of 9": (exif_block((0x0112, 3, 1, struct.pack("<H", 9))), (16, 12)),
    "an orientation as text": (exif_block((0x0112, 2, 2, b"6\0")), (16, 12)),
    "two orientations": (exif_block((0x0112, 3, 2, struct.pack("<HH", 6, 6))), (12, 16)),
    "no block": (b"Exif\0\0nonsense", (16, 12)),
}


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow warns of the slips
@pytest.mark.parametrize(("exif", "size"), SLIPS.values(), ids=SLIPS)
def test_only_the_orientation_of_a_slipped_exif_block_counts(tmp_path, exif, size):
    file = saved(tmp_path / "x.jpg", encoded(Image.fromarray(NOISE), "JPEG", exif=exif))
    assert Photo(file).pixels().shape[:0:-1] == Photo(file).dimensions() == size


# -- bits


def grays(file, *values, bits=16, kind="PNG"):
    array = np.array([values], np.uint16 if bits == 16 else np.int32)
    return saved(file, encoded(Image.fromarray(array), kind))


@pytest.mark.parametrize(
    ("highest", "bits"),
    [(255, 8), (256, 10), (1023, 10), (4095, 12), (4096, 14), (16383, 14), (16384, 16), (65535, 16)],
)
def test_the_number_of_bits_is_the_smallest_that_holds_all_values(tmp_path, highest, bits):
    files = [grays(tmp_path / "a.png", 0, 3), grays(tmp_path / "b.png", 1, highest)]
    found, remarks = agreed_bits(files)
    assert found == bits
    said = f"16-bit images with no value above {2**bits - 1:,} in 2 looked at: read as {bits} bits"
    assert [remark.text for remark in remarks] == [f"{said}; give bits=16 if white is 65535"] * (bits < 16)
    assert agreed_bits(files, 13) == (13, [])
    assert agreed_bits([saved(tmp_path / "c.png", encoded(Image.fromarray(NOISE)))]) == (None, [])


@pytest.mark.parametrize("bits", [7, 17, "12"])
def test_another_number_of_bits_is_an_error(bits):
    with pytest.raises(DataError, match="expected 8 to 16"):
        agreed_bits([], bits)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize(("bits", "values"), [(12, [0, 16, 2048, 4095]), (16, [0, 256, 32768, 65535])])
def test_16_bit_values_are_scaled_by_their_bits(tmp_path, kind, bits, values):
    pixels = Photo(grays(tmp_path / "x.png", *values, kind=kind), PixelFormat(bits=bits)).pixels()
    assert pixels.tolist() == [[[0, 1, 128, 255]]] * 3


def test_inverted_16_bit_images_are_inverted_back(tmp_path):
    content = encoded(Image.fromarray(np.array([[0, 4095]], np.uint16)), "TIFF", tiffinfo={262: 0})
    assert Photo(saved(tmp_path / "x.tif", content), PixelFormat(bits=12)).pixels()[0].tolist() == [[255, 0]]


def test_a_value_above_white_or_an_unknown_white_is_an_error(tmp_path):
    file = grays(tmp_path / "x.png", 5, 5000)
    with pytest.raises(DataError, match=r"pixels from 5 to 5,000, but bits=12 allow 0 to 4,095; give bits=16 if white"):
        Photo(file, PixelFormat(bits=12)).pixels()
    with pytest.raises(DataError, match="16-bit pixels, none above 5,000: the value of white is unknown; give bits=12"):
        Photo(file).pixels()
    assert Photo(grays(tmp_path / "y.png", 0, 65535)).pixels()[0].tolist() == [[0, 255]]


def test_32_bit_images_need_bits(tmp_path):
    file = grays(tmp_path / "x.tif", 0, 1023, bits=32, kind="TIFF")
    with pytest.raises(DataError, match="32-bit pixels, none above 1,023"):
        Photo(file).pixels()
    assert Photo(file, PixelFormat(bits=10)).pixels()[0].tolist() == [[0, 255]]
    with pytest.raises(DataError, match="pixels from -1 to 3"):
        Photo(grays(tmp_path / "y.tif", -1, 3, bits=32, kind="TIFF"), PixelFormat(bits=10)).pixels()


def test_floating_point_images_are_an_error(tmp_path):
    content = encoded(Image.fromarray(np.zeros((2, 2), np.float32)), "TIFF")
    with pytest.raises(DataError, match="floating-point pixels have no known range"):
        Photo(saved(tmp_path / "x.tif", content), PixelFormat(bits=16)).pixels()


def test_a_pgm_file_says_its_own_highest_value(tmp_path):
    content = b"P5 2 1 4095\n" + struct.pack(">HH", 0, 4095)
    file = saved(tmp_path / "x.pgm", content)
    assert Photo(file).pixels()[0].tolist() == [[0, 255]] and agreed_bits([file]) == (None, [])


@pytest.mark.parametrize("color", [2, 6])
def test_16_bits_per_color_are_read_only_if_their_high_bytes_are_the_image(tmp_path, color):
    shape = (1, 2, 3 if color == 2 else 4)
    bright, dark = np.full(shape, 65535), np.full(shape, 4095)
    bright[0, 0] = 0
    assert Photo(saved(tmp_path / "x.png", deep_png(bright, color))).pixels()[0].tolist() == [[0, 255]]
    file = saved(tmp_path / "y.png", deep_png(dark, color))
    for bits in (None, 12):
        with pytest.raises(DataError, match="16 bits per color, none above 4,095, and only the high bytes can be read"):
            Photo(file, PixelFormat(bits=bits)).pixels()
    assert Photo(file, PixelFormat(bits=16)).pixels()[0].tolist() == [[15, 15]]


def test_the_key_of_a_deferred_image_depends_on_bits(tmp_path):
    keys = {Photo(tmp_path / "x.png", PixelFormat(bits=bits)).deferred().key for bits in (None, 12, 16)}
    assert len(keys) == 3


# -- what is left out


def test_frames_and_transparency_are_said(tmp_path):
    frames = [Image.fromarray(NOISE // divisor) for divisor in (1, 2, 3)]
    plain = [saved(tmp_path / f"{n}.png", encoded(Image.fromarray(NOISE + n))) for n in range(3)]
    for name, kind in (("a.gif", "GIF"), ("b.webp", "WEBP"), ("c.tif", "TIFF"), ("d.png", "PNG")):
        moving = saved(tmp_path / name, encoded(frames[0], kind, save_all=True, append_images=frames[1:]))
        assert [remark.text for remark in left_out([*plain, moving])] == [
            f"1 of 4 images looked at has more than one frame or page, of which the first is read (for example {name})"
        ]
    clear = saved(tmp_path / "z.png", encoded(Image.fromarray(np.dstack([NOISE, NOISE[..., 0]]))))
    assert [remark.text for remark in left_out([*plain, clear])] == [
        "1 of 4 images looked at has transparency, which is left out, as by torchvision (for example z.png)"
    ]
    assert list(left_out(plain)) == []


def test_transparent_pixels_have_the_colors_that_torchvision_reads(tmp_path):
    clear = np.dstack([NOISE, np.zeros((12, 16), np.uint8)])
    file = saved(tmp_path / "x.png", encoded(Image.fromarray(clear)))
    assert np.array_equal(np.moveaxis(Photo(file).pixels(), 0, -1), NOISE)


def test_a_broken_header_says_nothing(tmp_path):
    file = saved(tmp_path / "x.png", b"")
    assert list(left_out([file])) == [] and agreed_bits([file]) == (None, [])


def test_eight_bits_loads_an_image_of_which_the_header_was_read(tmp_path):
    file = saved(tmp_path / "x.png", encoded(Image.fromarray(NOISE)))
    with open_image(file, load=False) as raw:
        assert np.array_equal(np.asarray(eight_bits(raw, "RGB")), NOISE)
