//! Tasks on pictures: PNG, JPEG, GIF (its first frame) and WebP.

use std::io::Cursor;

use image::imageops::FilterType;
use image::{DynamicImage, ImageFormat, ImageReader, Limits};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taskq::{TaskError, task};

use crate::blob::Blob;
use crate::bounds::{MAX_FILE_BYTES, at_most, within};

/// The most pixels that a picture may have, before and after: 50 million.
pub const MAX_PIXELS: u64 = 50_000_000;

/// The longest side of a picture.
const MAX_SIDE: u32 = 16_384;

/// What a picture is stored as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Without loss.
    Png,
    /// For photographs; without transparency.
    Jpeg,
    /// Without loss, 256 colours.
    Gif,
    /// Without loss here.
    Webp,
}

/// How a picture is brought to a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Fit {
    /// As large as fits into the size; the whole picture, in its proportions.
    Contain,
    /// The size, in its proportions; what does not fit is cut off on both sides.
    Cover,
    /// The size, whatever becomes of its proportions.
    Fill,
}

/// A picture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Picture {
    /// The file.
    pub data: Blob,
    /// What it is stored as.
    pub format: Format,
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
}

/// Brings a picture to a size.
///
/// # Errors
/// A permanent one for what is no picture, is damaged, or is larger than it may
/// be.
#[task(timeout = "2m")]
pub fn image_resize(
    /// The file.
    data: Blob,
    /// In pixels, 1 to 16,384.
    width: u32,
    /// In pixels, 1 to 16,384.
    height: u32,
    /// How; `contain` if it does not say.
    fit: Option<Fit>,
    /// What to store it as; as it was if it does not say.
    format: Option<Format>,
) -> Result<Picture, TaskError> {
    let (width, height) = (
        within("width", width, 1, MAX_SIDE)?,
        within("height", height, 1, MAX_SIDE)?,
    );
    pixels("the size", width, height)?;
    let (picture, was) = read(&data)?;
    let filter = FilterType::Lanczos3;
    let resized = match fit.unwrap_or(Fit::Contain) {
        Fit::Contain => picture.resize(width, height, filter),
        Fit::Cover => picture.resize_to_fill(width, height, filter),
        Fit::Fill => picture.resize_exact(width, height, filter),
    };
    write(resized, format.unwrap_or(was))
}

/// What is done to a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Filter {
    /// Without colours.
    Grayscale,
    /// As its negative.
    Invert,
    /// Softer; the amount is the radius in pixels, 0.1 to 50, 2 if it does not
    /// say.
    Blur,
    /// Crisper; the amount is the radius as for `blur`, 1 if it does not say.
    Sharpen,
    /// Brighter; the amount is from -255 to 255, 20 if it does not say.
    Brighten,
    /// With more contrast; the amount is from -100 to 100, 20 if it does not say.
    Contrast,
}

/// Changes how a picture looks.
///
/// # Errors
/// As [`image_resize()`].
#[task(timeout = "2m")]
pub fn apply_filter(
    /// The file.
    data: Blob,
    /// What to do.
    filter: Filter,
    /// How much; what it means and may be is the filter's.
    amount: Option<f32>,
    /// What to store it as; as it was if it does not say.
    format: Option<Format>,
) -> Result<Picture, TaskError> {
    let given =
        |usual: f32, least: f32, most: f32| within("amount", amount.unwrap_or(usual), least, most);
    let (picture, was) = read(&data)?;
    let changed = match filter {
        Filter::Grayscale => picture.grayscale(),
        Filter::Invert => {
            let mut picture = picture;
            picture.invert();
            picture
        }
        Filter::Blur => picture.fast_blur(given(2.0, 0.1, 50.0)?),
        Filter::Sharpen => picture.unsharpen(given(1.0, 0.1, 50.0)?, 2),
        #[expect(clippy::cast_possible_truncation, reason = "it is within bounds")]
        Filter::Brighten => picture.brighten(given(20.0, -255.0, 255.0)? as i32),
        Filter::Contrast => picture.adjust_contrast(given(20.0, -100.0, 100.0)?),
    };
    write(changed, format.unwrap_or(was))
}

fn pixels(what: &str, width: u32, height: u32) -> Result<(), TaskError> {
    let pixels = u64::from(width) * u64::from(height);
    if pixels > MAX_PIXELS {
        return Err(TaskError::permanent(format!(
            "{what} is {width} x {height}, and may have at most {MAX_PIXELS} pixels"
        )));
    }
    Ok(())
}

/// A small file can hold a picture of any size: its size is looked at before it
/// is read.
fn read(data: &Blob) -> Result<(DynamicImage, Format), TaskError> {
    at_most("data", data.0.len(), MAX_FILE_BYTES, "bytes")?;
    let broken = |error: image::ImageError| TaskError::permanent(format!("data: {error}"));
    let open = || ImageReader::new(Cursor::new(&data.0)).with_guessed_format();
    let reader = open()?;
    let format = match reader.format() {
        Some(ImageFormat::Png) => Format::Png,
        Some(ImageFormat::Jpeg) => Format::Jpeg,
        Some(ImageFormat::Gif) => Format::Gif,
        Some(ImageFormat::WebP) => Format::Webp,
        _ => return Err(TaskError::permanent("data is no PNG, JPEG, GIF or WebP")),
    };
    let (width, height) = reader.into_dimensions().map_err(broken)?;
    within("the width of data", width, 1, MAX_SIDE)?;
    within("the height of data", height, 1, MAX_SIDE)?;
    pixels("data", width, height)?;
    let mut reader = open()?;
    let mut limits = Limits::default();
    // Sixteen bytes a pixel at most, and what the decoder needs beside.
    limits.max_alloc = Some(MAX_PIXELS * 20);
    reader.limits(limits);
    let picture = reader.decode().map_err(broken)?;
    Ok((picture, format))
}

fn write(picture: DynamicImage, format: Format) -> Result<Picture, TaskError> {
    let (width, height) = (picture.width(), picture.height());
    let (picture, as_format) = match format {
        Format::Png => (picture, ImageFormat::Png),
        // It knows no transparency.
        Format::Jpeg => (picture.to_rgb8().into(), ImageFormat::Jpeg),
        Format::Gif => (picture.to_rgba8().into(), ImageFormat::Gif),
        Format::Webp => (picture.to_rgba8().into(), ImageFormat::WebP),
    };
    let mut data = Cursor::new(Vec::new());
    picture.write_to(&mut data, as_format)?;
    Ok(Picture {
        data: Blob(data.into_inner()),
        format,
        width,
        height,
    })
}

#[cfg(test)]
mod tests {
    use image::{Rgba, RgbaImage};

    use super::*;

    /// Red on the left, blue on the right.
    fn flag(format: Format) -> Blob {
        let flag = RgbaImage::from_fn(40, 20, |x, _| match x {
            ..20 => Rgba([255, 0, 0, 255]),
            _ => Rgba([0, 0, 255, 255]),
        });
        write(flag.into(), format).unwrap().data
    }

    fn pixel(picture: &Picture, x: u32, y: u32) -> [u8; 4] {
        let (picture, _) = read(&picture.data).unwrap();
        picture.to_rgba8().get_pixel(x, y).0
    }

    #[test]
    fn a_picture_is_brought_to_a_size() {
        for format in [Format::Png, Format::Jpeg, Format::Gif, Format::Webp] {
            for (fit, width, height) in [
                (Fit::Contain, 10, 5),
                (Fit::Cover, 10, 10),
                (Fit::Fill, 10, 10),
            ] {
                let small = image_resize(flag(format), 10, 10, Some(fit), None).unwrap();
                assert_eq!(
                    (small.width, small.height),
                    (width, height),
                    "{format:?} {fit:?}"
                );
                assert_eq!(small.format, format);
                let [red, _, blue, _] = pixel(&small, 0, 0);
                assert!(red > 200 && blue < 60, "{format:?} {fit:?}");
            }
        }
    }

    #[test]
    fn a_picture_is_stored_as_asked() {
        let small = image_resize(flag(Format::Png), 10, 10, None, Some(Format::Webp)).unwrap();
        assert_eq!(&small.data.0[8..12], b"WEBP");
        assert_eq!(read(&small.data).unwrap().1, Format::Webp);
    }

    #[test]
    fn filters_change_how_a_picture_looks() {
        let after = |filter, amount| apply_filter(flag(Format::Png), filter, amount, None).unwrap();
        assert_eq!(
            pixel(&after(Filter::Invert, None), 0, 0),
            [0, 255, 255, 255]
        );
        let [red, green, blue, _] = pixel(&after(Filter::Grayscale, None), 0, 0);
        assert!(red == green && green == blue);
        let [red, _, blue, _] = pixel(&after(Filter::Blur, Some(5.0)), 20, 10);
        assert!(red > 40 && blue > 40, "the border is mixed");
        assert_eq!(
            pixel(&after(Filter::Brighten, Some(50.0)), 0, 0),
            [255, 50, 50, 255]
        );
        let error = apply_filter(flag(Format::Png), Filter::Blur, Some(f32::NAN), None);
        assert!(error.unwrap_err().is_permanent());
    }

    #[test]
    fn what_is_no_picture_or_too_large_is_refused_for_good() {
        let error = image_resize(Blob(b"hello".to_vec()), 1, 1, None, None).unwrap_err();
        assert!(error.to_string().contains("no PNG"), "{error}");
        let mut cut = flag(Format::Png);
        cut.0.truncate(60);
        assert!(
            image_resize(cut, 1, 1, None, None)
                .unwrap_err()
                .is_permanent()
        );
        // The header of a PNG of 60,000 by 60,000 pixels.
        let mut bomb = flag(Format::Png);
        bomb.0[16..24].copy_from_slice(&[0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60]);
        let crc = crc32(&bomb.0[12..29]);
        bomb.0[29..33].copy_from_slice(&crc.to_be_bytes());
        let error = image_resize(bomb, 1, 1, None, None).unwrap_err();
        assert!(
            error.is_permanent() && error.to_string().contains("60000"),
            "{error}"
        );
        let error = image_resize(flag(Format::Png), 16_384, 16_384, None, None).unwrap_err();
        assert!(error.to_string().contains("pixels"), "{error}");
    }

    fn crc32(bytes: &[u8]) -> u32 {
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        crc.sum()
    }
}
