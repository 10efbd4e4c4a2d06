//! Any JSON value for a field: what makes sense is taken, the rest counts as absent.

use std::borrow::Cow;

use crate::incident::Value;

/// What fits into most records without growing, and costs little where it is not used.
pub(super) const FEW: usize = 8;

/// Implements the visitor methods for values that are not what was looked for: read past, and given as nothing.
macro_rules! anything_else_is_nothing {
    ($($scalar:ident($type:ty)),*) => {
        $(fn $scalar<E>(self, _: $type) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        })*
        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }
    };
}

/// The same where only an object makes sense: a list is read past as well.
macro_rules! only_an_object_counts {
    () => {
        $crate::incident::tolerant::anything_else_is_nothing!(
            visit_bool(bool),
            visit_i64(i64),
            visit_u64(u64),
            visit_f64(f64),
            visit_str(&str)
        );

        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
            $crate::incident::value::skip_rest(&mut items)?;
            Ok(Self::Value::default())
        }
    };
}

pub(super) use {anything_else_is_nothing, only_an_object_counts};

pub(super) fn set<T>(slot: &mut Option<T>, value: Option<T>) {
    if slot.is_none() {
        *slot = value;
    }
}

/// Ids are text; a number is taken by its digits.
pub(super) fn id(value: Value<'_>) -> Option<Cow<'_, str>> {
    match value {
        Value::Text(text) if !text.is_empty() => Some(text),
        Value::Int(number) => Some(Cow::Owned(number.to_string())),
        _ => None,
    }
}

pub(super) fn text(value: Value<'_>) -> Option<Cow<'_, str>> {
    match value {
        Value::Text(text) => Some(text),
        Value::Int(_) | Value::Float(_) | Value::Bool(_) => value.text().map(|text| Cow::Owned(text.into_owned())),
        Value::Null | Value::List(_) | Value::Map(_) => None,
    }
}

pub(super) fn boolean(value: &Value<'_>) -> Option<bool> {
    match value {
        Value::Bool(value) => Some(*value),
        Value::Int(0) => Some(false),
        Value::Int(1) => Some(true),
        Value::Text(text) if text.eq_ignore_ascii_case("true") => Some(true),
        Value::Text(text) if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}
