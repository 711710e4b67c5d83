// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/cpu/linear_dot.h"
#include "quanto/kernels/cpu/linear_panel.h"
#include "quanto/kernels/cpu/linear_word_tile.h"

// Codes to panels of words, in which they are exact: as bfloat16 pairs
// (linear_word_pairs.h), as four bytes, or as two 16-bit integers.

namespace quanto::kernels {
namespace {

/// k of a panel at most: 32 KiB of pairs.
constexpr int64_t kWordDepth = 512;

/// Scale and shift (in units of the weight) of kLanes columns of a panel.
struct PanelLanes {
  Vec scale;
  Vec shift;
};

/// Whether a panel holds weights and not codes.
template <typename Words>
constexpr bool kHoldsWeights = requires(IVec v, PanelLanes lanes) {
  Words::template decode<QTypeId::kQInt4>(v, v, lanes, &v);
};

/// Whether decode_run() of its own stores more than one word of each column
/// side by side, and zeros past the last k.
template <typename Words>
constexpr bool kStoresRuns = requires(ColumnRun run, uint32_t* out) {
  Words::template decode_run<QTypeId::kQInt4>(run, 0, out);
};

/// Four codes of an integer type. int8 is stored plus 128, unsigned, where
/// kUnsigned.
template <bool kUnsigned>
struct ByteWords {
  static constexpr int64_t kWordK = 4;

  template <QTypeId kType>
  static void decode(IVec bytes, IVec shift, IVec* out) {
    if constexpr (bits_of(kType) < 8) {
      constexpr int kCode = (1 << bits_of(kType)) - 1;
      *out =
          iand(shift_right_each(bytes, shift), ibroadcast(kCode * 0x1010101));
    } else {
      *out = kUnsigned ? ixor(bytes, ibroadcast(0x80808080)) : bytes;
    }
  }
};

#ifndef QUANTO_HAS_DOT4
/// int8 codes as pairs of 16-bit integers.
struct ShortWords {
  static constexpr int64_t kWordK = 2;

  template <QTypeId kType>
  static void decode(IVec bytes, IVec /*shift*/, IVec* out) {
    static_assert(kType == QTypeId::kQInt8);
    out[0] = even_bytes(bytes);
    out[1] = odd_bytes(bytes);
  }
};
#endif

/// `count` k of kLanes columns to the panel rows from `out` on.
template <QTypeId kType, typename Words>
void decode_word_run(const ColumnRun& run, int64_t count,
                     const PanelLanes& lanes, uint32_t* out) {
  constexpr int64_t kRows = kQuad / Words::kWordK;
  for (int64_t k = 0; k < count; k += kVecBytes) {
    const int64_t bytes = smaller(kVecBytes, count - k);
    IVec words[kLanes];
    load_columns(run, k, bytes, words);
    transpose(words);
    for (int64_t i = 0; i < bytes; i += kQuad) {
      IVec rows[kRows];
      if constexpr (kHoldsWeights<Words>) {
        Words::template decode<kType>(words[i / kQuad], run.shift, lanes, rows);
      } else {
        Words::template decode<kType>(words[i / kQuad], run.shift, rows);
      }
      QUANTO_UNROLL for (int64_t r = 0; r < kRows; ++r) {
        store_words(out, rows[r]);
        out += kPanelColumns;
      }
    }
  }
}

/// Outputs [output, last] of k in [k0, k0 + depth) to the panel. `scales` of
/// the groups from k0's on are read where the panel holds weights.
template <QTypeId kType, typename Words>
void decode_word_panel(const LinearProblem& problem, const LinearArgs& args,
                       const PanelPlan& plan, int64_t output, int64_t last,
                       int64_t k0, int64_t depth, const PanelScales& scales,
                       uint32_t* panel) {
  const int64_t size = problem.group_size;
  // Bytes of an output are contiguous over all of k, or within a group.
  const bool whole = plan.planes == 8 / bits_of(kType) && !kHoldsWeights<Words>;
  for (int half = 0; half < kPanelColumns; half += kLanes) {
    for (int64_t k = 0; k < depth;) {
      const int64_t left = depth - k;
      const int64_t count =
          whole ? left : smaller(left, size - (k0 + k) % size);
      const ColumnRun run =
          find_columns<kType>(problem, args, plan, output + half, last, k0 + k);
      PanelLanes lanes = {};
      if constexpr (kHoldsWeights<Words>) {
        const int64_t group = (k0 + k) / size - k0 / size;
        lanes = {load(scales.scale + group * kPanelColumns + half),
                 load(scales.shift + group * kPanelColumns + half)};
      }
      uint32_t* out = panel + k / Words::kWordK * kPanelColumns;
      if constexpr (kStoresRuns<Words>) {
        Words::template decode_run<kType>(run, count,
                                          out + half * Words::kRunWords);
      } else {
        decode_word_run<kType, Words>(run, count, lanes, out + half);
      }
      k += count;
    }
  }
}

/// Zeros from a panel's last quad up to a multiple of `pad_k`.
template <typename Words>
void pad_panel(int64_t depth, int64_t pad_k, uint32_t* panel) {
  if constexpr (kStoresRuns<Words>) return;
  constexpr int64_t kColumns = kPanelColumns / Words::kWordK;
  const int64_t end = round_up(depth, pad_k) * kColumns;
  for (int64_t i = round_up(depth, kQuad) * kColumns; i < end; i += kLanes) {
    store_words(panel + i, ibroadcast(0));
  }
}

}  // namespace
}  // namespace quanto::kernels
