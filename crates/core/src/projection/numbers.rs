//! Arrays of numbers as numpy has them, `[type, shape, order, bytes]`, as lists of lists.

use rmpv::Value as Packed;
use serde_json::Value;

use super::{ProjectionError, float, unpacked};

/// The array; null if it holds anything but numbers and truth values.
pub(super) fn project(data: &[u8], depth: usize) -> Result<Value, ProjectionError> {
    Ok(array(&unpacked(data, depth)?).unwrap_or_default())
}

fn array(parts: &Packed) -> Option<Value> {
    let [kind, shape, order, bytes] = parts.as_array()?.as_slice() else {
        return None;
    };
    let (read, size) = reader(kind.as_str()?)?;
    let bytes = bytes.as_slice()?;
    let shape = shape.as_array()?.iter();
    let shape = shape.map(|length| usize::try_from(length.as_u64()?).ok());
    let shape: Vec<usize> = shape.collect::<Option<_>>()?;
    let count = shape
        .iter()
        .try_fold(1_usize, |all, length| all.checked_mul(*length))?;
    if count.checked_mul(size)? != bytes.len() {
        return None;
    }
    let items: Vec<Value> = bytes.chunks_exact(size).map(read).collect();
    // How far apart neighbours along each axis are.
    let mut strides = vec![1; shape.len()];
    if order.as_str()? == "F" {
        for axis in 1..shape.len() {
            strides[axis] = strides[axis - 1] * shape[axis - 1];
        }
    } else {
        for axis in (1..shape.len()).rev() {
            strides[axis - 1] = strides[axis] * shape[axis];
        }
    }
    Some(nested(&items, &shape, &strides, 0))
}

fn nested(items: &[Value], shape: &[usize], strides: &[usize], at: usize) -> Value {
    match (shape, strides) {
        ([length, shape @ ..], [stride, strides @ ..]) => (0..*length)
            .map(|place| nested(items, shape, strides, at + place * stride))
            .collect(),
        _ => items.get(at).cloned().unwrap_or_default(),
    }
}

type Read = fn(&[u8]) -> Value;

/// How to read one number of a type, and how many bytes it has.
fn reader(kind: &str) -> Option<(Read, usize)> {
    macro_rules! number {
        ($type:ty, $from:ident, $into:expr) => {{
            const SIZE: usize = size_of::<$type>();
            let read: Read = |bytes| {
                let bytes = <[u8; SIZE]>::try_from(bytes).unwrap_or_default();
                $into(<$type>::$from(bytes))
            };
            (read, SIZE)
        }};
    }
    Some(match kind {
        "|b1" => number!(u8, from_le_bytes, |byte| Value::Bool(byte != 0)),
        "|u1" => number!(u8, from_le_bytes, Value::from),
        "|i1" => number!(i8, from_le_bytes, Value::from),
        "<u2" => number!(u16, from_le_bytes, Value::from),
        "<i2" => number!(i16, from_le_bytes, Value::from),
        "<u4" => number!(u32, from_le_bytes, Value::from),
        "<i4" => number!(i32, from_le_bytes, Value::from),
        "<u8" => number!(u64, from_le_bytes, Value::from),
        "<i8" => number!(i64, from_le_bytes, Value::from),
        "<f4" => number!(f32, from_le_bytes, |number: f32| float(number.into())),
        "<f8" => number!(f64, from_le_bytes, float),
        _ => return None,
    })
}
