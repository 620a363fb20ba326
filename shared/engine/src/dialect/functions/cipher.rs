//! AES: `aes_encrypt`, `aes_decrypt`, `try_aes_decrypt`.
//!
//! What CBC and GCM encrypt has its initialisation vector in front. Encryption without a given one would draw it, so
//! that a batch that is run again gives other bytes: that is refused when the query is planned.

use std::sync::Arc;

use aes::cipher::block_padding::Pkcs7;
use aes::cipher::consts::U12;
use aes::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyInit, KeyIvInit};
use aes::{Aes128, Aes192, Aes256};
use aes_gcm::AesGcm;
use aes_gcm::aead::{Aead, Nonce, Payload};
use datafusion::arrow::array::{ArrayRef, AsArray, BinaryBuilder};
use datafusion::common::plan_err;
use datafusion::error::Result;
use datafusion::logical_expr::Expr;
use datafusion::scalar::ScalarValue;

use super::Gives::Type;
use super::Takes::{Bytes, Text};
use super::string::text;
use super::{Call, Def, Planned};
use crate::dialect::error::RowError;
use crate::dialect::plan::Planner;

/// Bytes of the initialisation vector of CBC and of GCM.
const CBC_IV: usize = 16;
const GCM_IV: usize = 12;

/// Functions with a kernel of their own.
pub const FUNCTIONS: &[Def] = &[
    Def::new(&["aes_encrypt_with"], &[Bytes, Bytes, Text, Text, Bytes, Bytes], Type(Bytes), |call| {
        rows(call, true, |call, row| {
            let mode = Mode::of(call, row)?;
            let (iv, aad) = (optional(call, 4, row), optional(call, 5, row));
            check(mode, iv, aad)?;
            encrypted(mode, bytes(call, 0, row), bytes(call, 1, row), iv, aad)
        })
    })
    .optional(4),
    Def::new(&["aes_decrypt"], &[Bytes, Bytes, Text, Text, Bytes], Type(Bytes), |call| rows(call, true, decrypt))
        .optional(3),
    Def::new(&["try_aes_decrypt"], &[Bytes, Bytes, Text, Text, Bytes], Type(Bytes), |call| rows(call, false, decrypt))
        .optional(3),
];

/// Functions that plan themselves.
pub const PLANNED: &[Planned] = &[(&["aes_encrypt"], encrypt)];

/// Refuses what would draw its initialisation vector.
fn encrypt(planner: &Planner<'_>, args: Vec<Expr>) -> Result<Expr> {
    let constant = |at: usize| match args.get(at) {
        Some(Expr::Literal(ScalarValue::Utf8(Some(text)), _)) => Some(text.as_str()),
        _ => None,
    };
    let without = args.len() < 5 || constant(4) == Some("");
    if without && !constant(2).is_some_and(|mode| mode.eq_ignore_ascii_case("ECB")) {
        return plan_err!(
            "aes_encrypt() without an initialisation vector is not supported: it would be drawn, and a batch that is run \
             again must give the values it gave before; give one that differs from row to row as the fifth argument, as in \
             aes_encrypt(text, key, 'GCM', 'DEFAULT', unhex(substr(md5(id), 1, 24)))"
        );
    }
    planner.call("aes_encrypt_with", args)
}

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Ecb,
    Cbc,
    Gcm,
}

impl Mode {
    fn of(call: &Call<'_>, row: usize) -> Result<Self, RowError> {
        let mode = if call.has(2) { text(call, 2, row) } else { "GCM" };
        let padding = if call.has(3) { text(call, 3, row) } else { "DEFAULT" };
        let default = padding.eq_ignore_ascii_case("DEFAULT");
        let (pkcs, none) = (padding.eq_ignore_ascii_case("PKCS"), padding.eq_ignore_ascii_case("NONE"));
        match mode.to_ascii_uppercase().as_str() {
            "ECB" if default || pkcs => Ok(Self::Ecb),
            "CBC" if default || pkcs => Ok(Self::Cbc),
            "GCM" if default || none => Ok(Self::Gcm),
            _ => {
                let message = format!("AES has no mode '{mode}' with the padding '{padding}'");
                Err(RowError::new("UNSUPPORTED_FEATURE.AES_MODE", message))
            }
        }
    }
}

/// A kernel over rows; `raise` says whether what cannot be done raises, or is NULL.
fn rows(call: &Call<'_>, raise: bool, one: impl Fn(&Call<'_>, usize) -> Result<Vec<u8>, RowError>) -> Result<ArrayRef> {
    let mut out = BinaryBuilder::new();
    for row in 0..call.rows {
        if !call.complete(row) {
            out.append_null();
            continue;
        }
        match one(call, row) {
            Ok(bytes) => out.append_value(bytes),
            Err(error) if raise => return Err(error.into()),
            Err(_) => out.append_null(),
        }
    }
    Ok(Arc::new(out.finish()))
}

fn bytes<'a>(call: &'a Call<'_>, arg: usize, row: usize) -> &'a [u8] {
    call.args[arg].as_binary::<i32>().value(row)
}

/// An argument that may be left out; empty is as if it were.
fn optional<'a>(call: &'a Call<'_>, arg: usize, row: usize) -> &'a [u8] {
    if call.has(arg) { bytes(call, arg, row) } else { &[] }
}

fn check(mode: Mode, iv: &[u8], aad: &[u8]) -> Result<(), RowError> {
    if mode == Mode::Ecb && !iv.is_empty() {
        return Err(RowError::new("UNSUPPORTED_FEATURE.AES_MODE_IV", "ECB takes no initialisation vector"));
    }
    if mode != Mode::Gcm && !aad.is_empty() {
        return Err(RowError::new("UNSUPPORTED_FEATURE.AES_MODE_AAD", "only GCM takes additional data"));
    }
    let wanted = match mode {
        Mode::Ecb => return Ok(()),
        Mode::Cbc => CBC_IV,
        Mode::Gcm => GCM_IV,
    };
    if iv.len() == wanted {
        return Ok(());
    }
    let message = format!("an initialisation vector of {} bytes is given, {wanted} are needed", iv.len());
    Err(RowError::new("INVALID_PARAMETER_VALUE.AES_IV_LENGTH", message))
}

fn wrong_key(length: usize) -> RowError {
    let message = format!("a key of {length} bytes is given, 16, 24 or 32 are needed");
    RowError::new("INVALID_PARAMETER_VALUE.AES_KEY_LENGTH", message)
}

fn broken() -> RowError {
    RowError::new(
        "INVALID_PARAMETER_VALUE.AES_CRYPTO_ERROR",
        "the bytes cannot be decrypted with this key and mode: try_aes_decrypt gives NULL instead",
    )
}

/// Runs `$run` with the cipher of the key's length.
macro_rules! by_key {
    ($key:expr, $run:ident($($arg:expr),*)) => {
        match $key.len() {
            16 => $run::<Aes128>($($arg),*),
            24 => $run::<Aes192>($($arg),*),
            32 => $run::<Aes256>($($arg),*),
            length => Err(wrong_key(length)),
        }
    };
}

fn encrypted(mode: Mode, text: &[u8], key: &[u8], iv: &[u8], aad: &[u8]) -> Result<Vec<u8>, RowError> {
    let found = match mode {
        Mode::Ecb => by_key!(key, ecb_encrypt(text, key)),
        Mode::Cbc => by_key!(key, cbc_encrypt(text, key, iv)),
        Mode::Gcm => by_key!(key, gcm_encrypt(text, key, iv, aad)),
    }?;
    Ok([iv, &found].concat())
}

fn decrypt(call: &Call<'_>, row: usize) -> Result<Vec<u8>, RowError> {
    let mode = Mode::of(call, row)?;
    let (given, key, aad) = (bytes(call, 0, row), bytes(call, 1, row), optional(call, 4, row));
    if ![16, 24, 32].contains(&key.len()) {
        return Err(wrong_key(key.len()));
    }
    if mode != Mode::Gcm && !aad.is_empty() {
        return Err(RowError::new("UNSUPPORTED_FEATURE.AES_MODE_AAD", "only GCM takes additional data"));
    }
    let split = |length: usize| given.split_at_checked(length).ok_or_else(broken);
    match mode {
        Mode::Ecb => by_key!(key, ecb_decrypt(given, key)),
        Mode::Cbc => {
            let (iv, given) = split(CBC_IV)?;
            by_key!(key, cbc_decrypt(given, key, iv))
        }
        Mode::Gcm => {
            let (iv, given) = split(GCM_IV)?;
            by_key!(key, gcm_decrypt(given, key, iv, aad))
        }
    }
}

fn ecb_encrypt<C>(text: &[u8], key: &[u8]) -> Result<Vec<u8>, RowError>
where
    C: aes::cipher::BlockCipherEncrypt + KeyInit,
{
    let cipher = ecb::Encryptor::<C>::new_from_slice(key).map_err(|_| wrong_key(key.len()))?;
    Ok(cipher.encrypt_padded_vec::<Pkcs7>(text))
}

fn ecb_decrypt<C>(given: &[u8], key: &[u8]) -> Result<Vec<u8>, RowError>
where
    C: aes::cipher::BlockCipherDecrypt + KeyInit,
{
    let cipher = ecb::Decryptor::<C>::new_from_slice(key).map_err(|_| wrong_key(key.len()))?;
    cipher.decrypt_padded_vec::<Pkcs7>(given).map_err(|_| broken())
}

fn cbc_encrypt<C>(text: &[u8], key: &[u8], iv: &[u8]) -> Result<Vec<u8>, RowError>
where
    C: aes::cipher::BlockCipherEncrypt + KeyInit,
{
    let cipher = cbc::Encryptor::<C>::new_from_slices(key, iv).map_err(|_| wrong_key(key.len()))?;
    Ok(cipher.encrypt_padded_vec::<Pkcs7>(text))
}

fn cbc_decrypt<C>(given: &[u8], key: &[u8], iv: &[u8]) -> Result<Vec<u8>, RowError>
where
    C: aes::cipher::BlockCipherDecrypt + KeyInit,
{
    let cipher = cbc::Decryptor::<C>::new_from_slices(key, iv).map_err(|_| wrong_key(key.len()))?;
    cipher.decrypt_padded_vec::<Pkcs7>(given).map_err(|_| broken())
}

fn gcm_encrypt<C>(text: &[u8], key: &[u8], iv: &[u8], aad: &[u8]) -> Result<Vec<u8>, RowError>
where
    C: aes::cipher::BlockCipherEncrypt + aes::cipher::BlockSizeUser<BlockSize = aes::cipher::consts::U16> + KeyInit,
{
    let cipher = AesGcm::<C, U12>::new_from_slice(key).map_err(|_| wrong_key(key.len()))?;
    let nonce = Nonce::<AesGcm<C, U12>>::try_from(iv).map_err(|_| broken())?;
    cipher.encrypt(&nonce, Payload { msg: text, aad }).map_err(|_| broken())
}

fn gcm_decrypt<C>(given: &[u8], key: &[u8], iv: &[u8], aad: &[u8]) -> Result<Vec<u8>, RowError>
where
    C: aes::cipher::BlockCipherEncrypt + aes::cipher::BlockSizeUser<BlockSize = aes::cipher::consts::U16> + KeyInit,
{
    let cipher = AesGcm::<C, U12>::new_from_slice(key).map_err(|_| wrong_key(key.len()))?;
    let nonce = Nonce::<AesGcm<C, U12>>::try_from(iv).map_err(|_| broken())?;
    cipher.decrypt(&nonce, Payload { msg: given, aad }).map_err(|_| broken())
}
