"""Takes out of a picture what its maker did not mean to show: place, device, author, thumbnails, comments.

Runs in the sandbox's child: decoding foreign pictures is nothing for the process that everybody waits for.
"""

from __future__ import annotations

import io
import warnings

from PIL import Image, ImageOps, UnidentifiedImageError

from gateway_schemas.errors import Rejected

FORMATS = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "GIF": "image/gif"}
"""What can be cleaned, by the library's name for it."""

MOST_PIXELS = 80_000_000
"""About what the largest telephones take; a small file that unpacks to more is an attack."""


def cleaned(body: bytes) -> tuple[bytes, str]:
    """The picture without its metadata, upright, and its true media type.

    Raises Rejected with code `not_a_picture` for anything else, whose metadata cannot be taken out here, and
    `picture_too_large`.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            picture = Image.open(io.BytesIO(body), formats=tuple(FORMATS))
            kind = str(picture.format)
            if picture.width * picture.height * getattr(picture, "n_frames", 1) > MOST_PIXELS:
                raise Rejected(
                    f"a picture of {picture.width} × {picture.height} is too large", code="picture_too_large"
                )
            return _written(picture, kind), FORMATS[kind]
    except (UnidentifiedImageError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise Rejected("it is no picture that could be cleaned of its metadata", code="not_a_picture") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:  # all that the library's decoders raise
        raise Rejected("the picture is damaged", code="not_a_picture") from error


def _written(picture: Image.Image, kind: str) -> bytes:
    out = io.BytesIO()
    profile = picture.info.get("icc_profile")
    frames = getattr(picture, "n_frames", 1)
    if kind == "GIF" or frames > 1:
        # frames have their own times and ways of replacing each other, which the library keeps
        picture.save(out, kind, save_all=frames > 1, comment=b"", exif=b"", xmp=b"")
        return out.getvalue()
    upright = ImageOps.exif_transpose(picture)
    if kind == "JPEG":
        # the original's own tables, where it need not be turned: no quality is lost twice
        same = upright is picture or picture.getexif().get(0x0112, 1) == 1
        options = {"quality": "keep", "subsampling": "keep"} if same else {"quality": 92}
        source = picture if same else upright
        source.save(out, kind, icc_profile=profile, exif=b"", comment=b"", **options)
        return out.getvalue()
    upright.info = {name: value for name, value in upright.info.items() if name == "transparency"}
    upright.save(out, kind, icc_profile=profile, exif=b"", **({"lossless": True} if kind == "WEBP" else {}))
    return out.getvalue()
