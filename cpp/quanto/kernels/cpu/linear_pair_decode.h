// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/cpu/linear_pair_tile.h"
#include "quanto/kernels/cpu/linear_pairs.h"
#include "quanto/kernels/cpu/linear_panel.h"

// Codes, which are exact in bfloat16, to panels of pairs.

namespace quanto::kernels {
namespace {

/// k of a panel at most: 32 KiB of it.
constexpr int64_t kPairDepth = 512;

/// Four k of kLanes columns to two vectors of pairs.
template <QTypeId kType>
inline void decode_quad(IVec words, IVec shift, IVec* out) {
  if constexpr (bits_of(kType) < 8) {
    const __m512i table = _mm512_load_si512(kCodeTable<bits_of(kType)>.values);
    const IVec even = shift_right_each(words, shift);
    out[0].v = _mm512_permutexvar_epi16(even.v, table);
    out[1].v = _mm512_permutexvar_epi16(shift_right(even, 8).v, table);
  } else {
    const auto pair = [](Vec low, Vec high) {
      return ior(shift_right(as_int(low), 16),
                 iand(as_int(high), ibroadcast(0xffff0000)));
    };
    out[0] = pair(panel_codes<kType, 0>(words, shift),
                  panel_codes<kType, 2>(words, shift));
    out[1] = pair(panel_codes<kType, 1>(words, shift),
                  panel_codes<kType, 3>(words, shift));
  }
}

/// `count` k of kLanes columns to the panel rows from `out` on.
template <QTypeId kType>
void decode_run_bf16(const ColumnRun& run, int64_t count, uint32_t* out) {
  for (int64_t k = 0; k < count; k += kVecBytes) {
    const int64_t bytes = smaller(kVecBytes, count - k);
    IVec words[kLanes];
    if (bytes == kVecBytes) {
      QUANTO_UNROLL for (int c = 0; c < kLanes; ++c) {
        words[c] = load_words(run.codes[c] + k);
      }
    } else {
      for (int c = 0; c < kLanes; ++c) {
        words[c] = load_words_tail(run.codes[c] + k, bytes);
      }
    }
    transpose(words);
    for (int64_t i = 0; i < bytes; i += kQuad) {
      IVec pairs[2];
      decode_quad<kType>(words[i / kQuad], run.shift, pairs);
      _mm512_storeu_si512(out, pairs[0].v);
      _mm512_storeu_si512(out + kPanelColumns, pairs[1].v);
      out += 2 * kPanelColumns;
    }
  }
}

/// Outputs [output, last] of k in [k0, k0 + depth) to the panel.
template <QTypeId kType>
void decode_panel_bf16(const LinearProblem& problem, const LinearArgs& args,
                       const PanelPlan& plan, int64_t output, int64_t last,
                       int64_t k0, int64_t depth, uint32_t* panel) {
  const int64_t size = problem.group_size;
  const bool whole = plan.planes == 8 / bits_of(kType);
  for (int half = 0; half < kPanelColumns; half += kLanes) {
    for (int64_t k = 0; k < depth;) {
      const int64_t left = depth - k;
      const int64_t count =
          whole ? left : smaller(left, size - (k0 + k) % size);
      const ColumnRun run =
          find_columns<kType>(problem, args, plan, output + half, last, k0 + k);
      decode_run_bf16<kType>(run, count, panel + k / 2 * kPanelColumns + half);
      k += count;
    }
  }
}

/// Zeros from a panel's last quad up to a multiple of `pad_k`.
inline void pad_panel(int64_t depth, int64_t pad_k, uint32_t* panel) {
  const int64_t end = round_up(depth, pad_k) / 2 * kPanelColumns;
  for (int64_t i = round_up(depth, kQuad) / 2 * kPanelColumns; i < end;
       i += kLanes) {
    _mm512_storeu_si512(panel + i, _mm512_setzero_si512());
  }
}

}  // namespace
}  // namespace quanto::kernels
