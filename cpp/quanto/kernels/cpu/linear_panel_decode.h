// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/cpu/linear_decode.h"

// Weights to fp32 panels [k][kPanelColumns]: a panel holds some outputs for one
// block of k, transposed, so that a micro-kernel loads outputs side by side.

namespace quanto::kernels {
namespace {

constexpr int kPanelColumns = 2 * kLanes;
/// k of one panel: 32 KiB (AVX-512) or 16 KiB of it, within the first cache.
constexpr int64_t kPanelDepth = 256;

/// kLanes outputs over a run of k in which the bytes of each are contiguous.
struct ColumnRun {
  const uint8_t* codes[kLanes];
  IVec shift;  ///< where the code stands in the byte (packed types)
};

/// `bytes` <= kVecBytes of each column from k on, zeros past them.
QUANTO_INLINE void load_columns(const ColumnRun& run, int64_t k, int64_t bytes,
                                IVec (&words)[kLanes]) {
  if (bytes == kVecBytes) {
    QUANTO_UNROLL for (int c = 0; c < kLanes; ++c) {
      words[c] = load_words(run.codes[c] + k);
    }
  } else {
    for (int c = 0; c < kLanes; ++c) {
      words[c] = load_words_tail(run.codes[c] + k, bytes);
    }
  }
}

/// The scales and shifts of a panel: group `group` of column c at
/// [group * kPanelColumns + c], groups counted from the panel's first.
struct PanelScales {
  float* scale;
  float* shift;
  int64_t group_size;
  bool integer;
};

/// Four k of kLanes columns (byte j of a lane is k = j) to fp32 codes.
template <QTypeId kType, int kByte>
inline Vec panel_codes(IVec words, IVec shift) {
  if constexpr (kType == QTypeId::kQInt8) {
    return to_float(shift_right_signed(shift_left(words, 24 - 8 * kByte), 24));
  } else if constexpr (bits_of(kType) == 8) {
    const IVec code = iand(shift_right(words, 8 * kByte), ibroadcast(0xff));
    return decode_float8_words<kType>(code);
  } else {
    const IVec code = shift_right_each(shift_right(words, 8 * kByte), shift);
    return to_float(iand(code, ibroadcast((1 << bits_of(kType)) - 1)));
  }
}

/// Walks along k: where the panel row and the group's scales stand.
struct PanelCursor {
  float* out;
  const float* scale;
  const float* shift;
  int64_t left;  ///< k until the next group
  int64_t group_size;

  void advance() {
    out += kPanelColumns;
    if (--left == 0) {
      left = group_size;
      scale += kPanelColumns;
      shift += kPanelColumns;
    }
  }
};

template <QTypeId kType, bool kInteger, int kByte>
inline void decode_step(IVec words, IVec shift, PanelCursor& at) {
  Vec w = panel_codes<kType, kByte>(words, shift);
  if constexpr (bits_of(kType) < 8) {
    w = kInteger ? mul(load(at.scale), sub(w, load(at.shift)))
                 : fms(load(at.scale), w, load(at.shift));
  }
  store(at.out, w);
  at.advance();
}

template <QTypeId kType, bool kInteger>
inline void decode_words(IVec words, IVec shift, int64_t count,
                         PanelCursor& at) {
  decode_step<kType, kInteger, 0>(words, shift, at);
  if (count > 1) decode_step<kType, kInteger, 1>(words, shift, at);
  if (count > 2) decode_step<kType, kInteger, 2>(words, shift, at);
  if (count > 3) decode_step<kType, kInteger, 3>(words, shift, at);
}

/// `count` k of kLanes columns to the panel.
template <QTypeId kType, bool kInteger>
void decode_run(const ColumnRun& run, int64_t count, PanelCursor& at) {
  for (int64_t k = 0; k < count; k += kVecBytes) {
    const int64_t bytes = smaller(kVecBytes, count - k);
    IVec words[kLanes];
    load_columns(run, k, bytes, words);
    transpose(words);
    for (int64_t i = 0; i < bytes; i += 4) {
      decode_words<kType, kInteger>(words[i / 4], run.shift, bytes - i, at);
    }
  }
}

}  // namespace
}  // namespace quanto::kernels
