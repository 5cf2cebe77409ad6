"""What a picture says beside what it shows is taken out before it is published."""

from __future__ import annotations

import io

import pytest
from PIL import Image, PngImagePlugin

from gateway.files import images
from gateway.files.images import cleaned
from gateway_schemas.errors import Rejected

SECRET = b"48.2082,16.3738 taken by Ann"


def picture(kind: str, *, mode: str = "RGB", frames: int = 1) -> bytes:
    exif = Image.Exif()
    exif[0x010E] = SECRET.decode()
    exif[0x8298] = SECRET.decode()
    out = io.BytesIO()
    all_frames = [Image.new(mode, (20, 10), colour) for colour in ("red", "blue", "green")[:frames]]
    options: dict[str, object] = {"save_all": True, "append_images": all_frames[1:]} if frames > 1 else {}
    if kind == "PNG":
        text = PngImagePlugin.PngInfo()
        text.add_text("Comment", SECRET.decode())
        options["pnginfo"] = text
    if kind in ("JPEG", "GIF"):
        options["comment"] = SECRET
    if kind != "GIF":
        options["exif"] = exif
    all_frames[0].save(out, kind, **options)
    return out.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
def test_metadata_is_taken_out(kind: str) -> None:
    before = picture(kind)
    assert SECRET in before
    after, media_type = cleaned(before)
    assert SECRET not in after
    assert media_type == images.FORMATS[kind]
    shown = Image.open(io.BytesIO(after))
    assert shown.size == (20, 10)
    assert not dict(shown.getexif())


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_animations_stay_animated(kind: str) -> None:
    after, _ = cleaned(picture(kind, frames=3))
    assert getattr(Image.open(io.BytesIO(after)), "n_frames", 1) == 3
    assert SECRET not in after


def test_transparency_stays() -> None:
    out = io.BytesIO()
    Image.new("RGBA", (4, 4), (255, 0, 0, 10)).save(out, "PNG")
    after, _ = cleaned(out.getvalue())
    assert Image.open(io.BytesIO(after)).convert("RGBA").getpixel((0, 0)) == (255, 0, 0, 10)


def test_a_picture_is_turned_as_its_metadata_said() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    out = io.BytesIO()
    Image.new("RGB", (20, 10), "red").save(out, "JPEG", exif=exif)
    after, _ = cleaned(out.getvalue())
    assert Image.open(io.BytesIO(after)).size == (10, 20)


@pytest.mark.parametrize(
    "body",
    [b"", b"%PDF-1.7", b"<svg xmlns='http://www.w3.org/2000/svg'/>", picture("JPEG")[:80], b"GIF89a" + bytes(20)],
    ids=["nothing", "pdf", "svg", "cut off", "broken"],
)
def test_what_is_no_picture_is_refused(body: bytes) -> None:
    with pytest.raises(Rejected) as refused:
        cleaned(body)
    assert refused.value.code == "not_a_picture"


def test_a_small_file_that_unpacks_to_a_huge_picture_is_refused() -> None:
    out = io.BytesIO()
    Image.new("1", (12_000, 12_000)).save(out, "PNG")
    assert len(out.getvalue()) < 100_000
    with pytest.raises(Rejected) as refused:
        cleaned(out.getvalue())
    assert refused.value.code in ("picture_too_large", "not_a_picture")
