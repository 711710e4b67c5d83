// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/cpu/amx_config.h"
#include "quanto/kernels/cpu/linear_terms.h"
#include "quanto/kernels/cpu/linear_word_pairs.h"

// bfloat16 pairs or bytes multiplied in AMX tiles: two by two accumulators of
// 16 rows by 16 columns.

namespace quanto::kernels {
namespace {

constexpr int64_t kPanelStride = kPanelColumns * 4;

/// [k / 32][term][rows, up to 16 or 32][32 k] of bfloat16 pairs, zeros past the
/// last row and k.
template <typename LoadTerms>
void pack_amx_pairs(const LinearProblem& problem, LoadTerms load_terms,
                    int64_t first, int64_t rows, uint32_t* tile) {
  constexpr int kTerms = LoadTerms::kTerms;
  const int64_t padded = round_up(rows, kAmxRows);
  for (int64_t k = 0; k < problem.k; k += kVecPairsK) {
    const int64_t count = smaller(kVecPairsK, problem.k - k);
    for (int64_t r = 0; r < padded; ++r) {
      __m512i terms[kTerms] = {};
      if (r < rows) load_terms((first + r) * problem.k + k, count, terms);
      QUANTO_UNROLL for (int t = 0; t < kTerms; ++t) {
        _mm512_storeu_si512(tile + (t * padded + r) * kAmxWidth,
                            to_pairs(terms[t]));
      }
    }
    tile += kTerms * padded * kAmxWidth;
  }
}

/// [k / 64][rows, up to 16 or 32][64 k] of int8, zeros past the last row and k.
inline void pack_amx_bytes(const LinearProblem& problem, const LinearArgs& args,
                           int64_t first, int64_t rows, uint32_t* tile) {
  const auto* input = static_cast<const uint8_t*>(args.input);
  const int64_t padded = round_up(rows, kAmxRows);
  for (int64_t k = 0; k < problem.k; k += kVecBytes) {
    const int64_t count = smaller(kVecBytes, problem.k - k);
    for (int64_t r = 0; r < padded; ++r) {
      const IVec x =
          r < rows ? load_words_tail(input + (first + r) * problem.k + k, count)
                   : ibroadcast(0);
      _mm512_storeu_si512(tile, x.v);
      tile += kAmxWidth;
    }
  }
}

/// The dot products of rows of tile kA with columns of tile kB, into kSum; an
/// intrinsic takes literals only.
#define QUANTO_AMX_DOT(kBytes, sum, a, b) \
  if constexpr (kBytes) {                 \
    _tile_dpbssd(sum, a, b);              \
  } else {                                \
    _tile_dpbf16ps(sum, a, b);            \
  }

/// Sums of kTiles * kAmxRows rows to tile registers 0 to 3.
template <int kTiles>
inline void start_amx(const float* before) {
  if (before == nullptr) {
    _tile_zero(0);
    _tile_zero(1);
    if constexpr (kTiles == 2) {
      _tile_zero(2);
      _tile_zero(3);
    }
  } else {
    _tile_loadd(0, before, kPanelStride);
    _tile_loadd(1, before + kLanes, kPanelStride);
    if constexpr (kTiles == 2) {
      const float* lower = before + kAmxRows * kPanelColumns;
      _tile_loadd(2, lower, kPanelStride);
      _tile_loadd(3, lower + kLanes, kPanelStride);
    }
  }
}

/// Adds the products of the rows in tile registers 4 and 5 with the columns in
/// 6 and 7, and refills each with what follows, where that is not null, as soon
/// as it was read: a thread that shares its core does not see past a load. All
/// rows pass by a panel: they are streamed, so that they do not displace it
/// from the first cache.
template <bool kBytes, int kTiles, bool kNextRows, bool kNextColumns>
inline void step_amx(const uint32_t* rows, const uint32_t* columns) {
  QUANTO_AMX_DOT(kBytes, 0, 4, 6);
  QUANTO_AMX_DOT(kBytes, 1, 4, 7);
  if constexpr (kNextRows) _tile_stream_loadd(4, rows, kAmxWidth * 4);
  if constexpr (kTiles == 2) {
    QUANTO_AMX_DOT(kBytes, 2, 5, 6);
    if constexpr (kNextColumns) _tile_loadd(6, columns, kPanelStride);
    QUANTO_AMX_DOT(kBytes, 3, 5, 7);
    if constexpr (kNextRows) {
      _tile_stream_loadd(5, rows + kAmxTile, kAmxWidth * 4);
    }
  } else if constexpr (kNextColumns) {
    _tile_loadd(6, columns, kPanelStride);
  }
  if constexpr (kNextColumns) _tile_loadd(7, columns + kLanes, kPanelStride);
}

/// Multiplies kTiles * kAmxRows rows into tile registers 0 to 3, of int8 to
/// int32 where kBytes, else of bfloat16 to fp32.
template <bool kBytes, int kTiles>
inline void multiply_amx(const TilePart& part, const float* before) {
  start_amx<kTiles>(before);
  const uint32_t* rows = part.tile;
  const uint32_t* columns = part.panel;
  _tile_loadd(6, columns, kPanelStride);
  _tile_loadd(7, columns + kLanes, kPanelStride);
  _tile_stream_loadd(4, rows, kAmxWidth * 4);
  if constexpr (kTiles == 2) {
    _tile_stream_loadd(5, rows + kAmxTile, kAmxWidth * 4);
  }
  for (int64_t left = part.words - kAmxWidth;; left -= kAmxWidth) {
    for (int64_t t = 1; t < part.terms; ++t) {
      rows += kTiles * kAmxTile;
      step_amx<kBytes, kTiles, true, false>(rows, nullptr);
    }
    if (left <= 0) break;
    rows += kTiles * kAmxTile;
    columns += kAmxWidth * kPanelColumns;
    step_amx<kBytes, kTiles, true, true>(rows, columns);
  }
  step_amx<kBytes, kTiles, false, false>(nullptr, nullptr);
}

template <int kTiles>
inline void store_amx(float* out) {
  _tile_stored(0, out, kPanelStride);
  _tile_stored(1, out + kLanes, kPanelStride);
  if constexpr (kTiles == 2) {
    float* lower = out + kAmxRows * kPanelColumns;
    _tile_stored(2, lower, kPanelStride);
    _tile_stored(3, lower + kLanes, kPanelStride);
  }
}

/// kLanes sums as a tile register leaves them.
template <bool kBytes>
inline Vec load_sums(const float* sums) {
  if constexpr (kBytes) return to_float(load_words(sums));
  return load(sums);
}

/// sums[rows][kPanelColumns] (+)= scale * product - x_sums * shift.
template <bool kBytes>
void add_products(const TilePart& part, int64_t rows, bool first,
                  const float* product, float* sums) {
  for (int half = 0; half < kPanelColumns; half += kLanes) {
    const Vec scale = load(part.scale + half);
    const Vec shift = load(part.shift + half);
    for (int64_t r = 0; r < rows; ++r) {
      float* sum = sums + r * kPanelColumns + half;
      const Vec before = first ? zero() : load(sum);
      store(sum,
            add_scaled(before,
                       load_sums<kBytes>(product + r * kPanelColumns + half),
                       scale, part.x_sums[r], shift));
    }
  }
}

template <bool kBytes, int kTiles>
QUANTO_NOINLINE void multiply_tile_amx(const TilePart& part, int64_t rows,
                                       bool first, float* sums) {
  // The intrinsics that load tiles do not say that they read memory.
  __atomic_signal_fence(__ATOMIC_SEQ_CST);
  if (part.scale == nullptr) {
    multiply_amx<kBytes, kTiles>(part, first ? nullptr : sums);
    store_amx<kTiles>(sums);
  } else {
    alignas(64) float product[kTiles * kAmxRows * kPanelColumns];
    multiply_amx<kBytes, kTiles>(part, nullptr);
    store_amx<kTiles>(product);
    add_products<kBytes>(part, rows, first, product, sums);
  }
}

/// What the Tiles of linear_word_units.h on tile registers share.
template <bool kBytes>
struct AmxTilesOf {
  static constexpr int64_t kRows = 2 * kAmxRows;
  static constexpr int64_t kBlockRows = 512;
  static constexpr bool kSums = false;

  static void begin() { _tile_loadconfig(&kAmxConfig); }
  static void end() { _tile_release(); }
  static int64_t padded(int64_t rows) { return round_up(rows, kAmxRows); }
  static void multiply(const TilePart& part, int64_t rows, bool first,
                       float* sums) {
    if (rows > kAmxRows) {
      multiply_tile_amx<kBytes, 2>(part, rows, first, sums);
    } else {
      multiply_tile_amx<kBytes, 1>(part, rows, first, sums);
    }
  }
};

/// Activations of every dtype as terms, by codes or weights as bfloat16.
template <typename PanelWords>
struct AmxPairTiles : AmxTilesOf<false> {
  using Words = PanelWords;
  static constexpr int64_t kPadK = kVecPairsK;
  static constexpr int64_t kFewestDenseRows = 96;

  static void pack(const LinearProblem& problem, const LinearArgs& args,
                   int64_t first, int64_t rows, uint32_t* tile) {
    with_terms(problem, args, [&](auto load_terms) {
      pack_amx_pairs(problem, load_terms, first, rows, tile);
    });
  }
  static void finish(float* /*sums*/, int64_t /*count*/) {}
};

using AmxCodeTiles = AmxPairTiles<PairWords>;
using AmxWeightTiles = AmxPairTiles<WeightPairWords>;

/// Codes by codes, int8 or unsigned and of fewer bits.
struct AmxByteTiles : AmxTilesOf<true> {
  using Words = ByteWords<false>;
  static constexpr int64_t kPadK = kVecBytes;

  static void pack(const LinearProblem& problem, const LinearArgs& args,
                   int64_t first, int64_t rows, uint32_t* tile) {
    pack_amx_bytes(problem, args, first, rows, tile);
  }
  static void finish(float* sums, int64_t count) {
    int_sums_to_float(sums, count);
  }
};

}  // namespace
}  // namespace quanto::kernels
