// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/cpu/linear_tile_int8.h"

// int8 codes by codes of an integer type as products of small matrices: an
// instruction (SMMLA) takes 8 k of two rows and of two columns to their four
// sums of int32.

namespace quanto::kernels {
namespace {

/// k that an instruction takes.
constexpr int64_t kMatrixK = 8;
/// Rows of a tile: with all columns of a panel their sums take 24 of the 32
/// registers.
constexpr int kMatrixRows = 6;

/// Panels [k / 8][kPanelColumns][8 k] of int8, zeros past the last k.
struct MatrixWords {
  static constexpr int64_t kWordK = 4;
  /// Of a column, side by side.
  static constexpr int64_t kRunWords = kMatrixK / kWordK;

  /// `count` k of kLanes columns from the first of a panel row on.
  template <QTypeId kType>
  static void decode_run(const ColumnRun& run, int64_t count, uint32_t* out) {
    constexpr int kPairs = kLanes / 2;
    const IVec by = run.shift;
    const uint32x4_t shift[kPairs] = {
        vzip1q_u32(by.lo, by.lo), vzip2q_u32(by.lo, by.lo),
        vzip1q_u32(by.hi, by.hi), vzip2q_u32(by.hi, by.hi)};
    for (int64_t k = 0; k < count; k += kVecBytes) {
      const int64_t bytes = smaller(kVecBytes, count - k);
      IVec words[kLanes];
      load_columns(run, k, bytes, words);
      QUANTO_UNROLL for (int step = 0; step < kVecBytes / kMatrixK; ++step) {
        if (step * kMatrixK >= bytes) break;
        QUANTO_UNROLL for (int pair = 0; pair < kPairs; ++pair) {
          const uint32x4_t codes =
              column_pair(words[2 * pair], words[2 * pair + 1], step);
          vst1q_u32(out + 2 * kRunWords * pair,
                    decode<kType>(codes, shift[pair]));
        }
        out += kRunWords * kPanelColumns;
      }
    }
  }

 private:
  /// k of one step of two columns.
  static uint32x4_t column_pair(IVec a, IVec b, int step) {
    const uint64x2_t of_a = vreinterpretq_u64_u32(step < 2 ? a.lo : a.hi);
    const uint64x2_t of_b = vreinterpretq_u64_u32(step < 2 ? b.lo : b.hi);
    return vreinterpretq_u32_u64(step % 2 == 0 ? vtrn1q_u64(of_a, of_b)
                                               : vtrn2q_u64(of_a, of_b));
  }

  template <QTypeId kType>
  static uint32x4_t decode(uint32x4_t bytes, uint32x4_t shift) {
    if constexpr (kType == QTypeId::kQInt8) return bytes;
    constexpr uint32_t kCode = (1U << bits_of(kType)) - 1;
    return vandq_u32(bytes >> shift, vdupq_n_u32(kCode * 0x1010101));
  }
};

/// Rows [first, first + rows) of the input as one tile: [k / 8][rows][8 k] of
/// an even number of rows, zeros past the last row and k.
inline void pack_tile_mmla(const LinearProblem& problem, const LinearArgs& args,
                           int64_t first, int64_t rows, uint32_t* tile) {
  const auto* input = static_cast<const uint8_t*>(args.input);
  for (int64_t k = 0; k < problem.k; k += kMatrixK) {
    const auto count = static_cast<size_t>(smaller(kMatrixK, problem.k - k));
    for (int64_t r = 0; r < round_up(rows, 2); ++r) {
      uint8_t part[kMatrixK] = {};
      const uint8_t* from = input + (first + r) * problem.k + k;
      if (r < rows && count == kMatrixK) {
        __builtin_memcpy(part, from, kMatrixK);
      } else if (r < rows) {
        __builtin_memcpy(part, from, count);
      }
      __builtin_memcpy(tile, part, kMatrixK);
      tile += MatrixWords::kRunWords;
    }
  }
}

/// Row `row` of the products of two pairs of columns.
inline uint32x4_t matrix_row(int32x4_t a, int32x4_t b, int row) {
  const int64x2_t of_a = vreinterpretq_s64_s32(a);
  const int64x2_t of_b = vreinterpretq_s64_s32(b);
  return vreinterpretq_u32_s64(row == 0 ? vtrn1q_s64(of_a, of_b)
                                        : vtrn2q_s64(of_a, of_b));
}

/// sums[kRows][kPanelColumns] (+)= tile times panel, as add_int_products()
/// does.
template <int kRows>
QUANTO_NOINLINE void multiply_tile_mmla(const TilePart& part, bool first,
                                        float* sums) {
  constexpr int kPairs = (kRows + 1) / 2;
  constexpr int kColumnPairs = kPanelColumns / 2;
  constexpr int kBytes = 2 * kMatrixK;
  int32x4_t acc[kPairs][kColumnPairs];
  QUANTO_UNROLL for (int p = 0; p < kPairs; ++p) {
    QUANTO_UNROLL for (int c = 0; c < kColumnPairs; ++c) {
      acc[p][c] = vdupq_n_s32(0);
    }
  }
  const auto* tile = reinterpret_cast<const int8_t*>(part.tile);
  const auto* panel = reinterpret_cast<const int8_t*>(part.panel);
  for (int64_t i = 0; i < part.words; i += MatrixWords::kRunWords) {
    int8x16_t x[kPairs];
    QUANTO_UNROLL for (int p = 0; p < kPairs; ++p) {
      x[p] = vld1q_s8(tile + p * kBytes);
    }
    QUANTO_UNROLL for (int c = 0; c < kColumnPairs; ++c) {
      // Loads that stay behind it leave registers to the sums.
      if (c % 4 == 0) __atomic_signal_fence(__ATOMIC_SEQ_CST);
      const int8x16_t w = vld1q_s8(panel + c * kBytes);
      QUANTO_UNROLL for (int p = 0; p < kPairs; ++p) {
        acc[p][c] = vmmlaq_s32(acc[p][c], x[p], w);
      }
    }
    tile += kPairs * kBytes;
    panel += kColumnPairs * kBytes;
  }
  const auto product = [&](int r, int half) -> IVec {
    const int32x4_t* from = acc[r / 2] + half * kColumnPairs / 2;
    return {matrix_row(from[0], from[1], r % 2),
            matrix_row(from[2], from[3], r % 2)};
  };
  if (part.scale == nullptr) {
    update_sums<kRows>(first, sums, [&](Vec before, int r, int half) {
      return as_float(iadd(as_int(before), product(r, half)));
    });
  } else {
    add_scaled_products<kRows>(
        part, first,
        [&](int r, int half) { return to_float(product(r, half)); }, sums);
  }
}

/// The Tiles of linear_word_units.h on products of matrices.
struct MatrixTiles {
  using Words = MatrixWords;
  static constexpr int64_t kRows = kMatrixRows;
  static constexpr int64_t kBlockRows = kernels::kBlockRows;
  static constexpr int64_t kPadK = kMatrixK;
  static constexpr bool kSums = false;

  static void begin() {}
  static void end() {}
  static int64_t padded(int64_t rows) { return round_up(rows, 2); }
  static void pack(const LinearProblem& problem, const LinearArgs& args,
                   int64_t first, int64_t rows, uint32_t* tile) {
    pack_tile_mmla(problem, args, first, rows, tile);
  }
  static void multiply(const TilePart& part, int64_t rows, bool first,
                       float* sums) {
    kernel_for_rows<kMatrixRows>(rows, [](auto count) {
      return multiply_tile_mmla<count.value>;
    })(part, first, sums);
  }
  static void finish(float* sums, int64_t count) {
    int_sums_to_float(sums, count);
  }
};

}  // namespace
}  // namespace quanto::kernels
