// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/cpu/linear_panel_ahead.h"

// Activations by panels of codes, whatever multiplies them. Scale and shift are
// applied to the sums of a part of k that lies within one group.
//
// `Tiles` is what multiplies:
//   Words                what a panel holds (linear_word_decode.h)
//   kRows                rows of a tile
//   kBlockRows           rows of activations held as tiles at a time, at most
//   kPadK                k of a part is padded to a multiple of it
//   kSums                multiply() takes x_sums even without a shift
//   kTakesParts          multiply() takes more than one part, where it is there
//   padded(rows)         rows of tile and sums that `rows` take up
//   pack(...)            rows of the input to a tile
//   multiply(...)        sums (+)= tile times panel; or where there is a scale
//                        scale * (tile times panel) - x_sums * shift
//   finish(sums, count)  sums without a scale to fp32
//   begin(), end()       around the calls of multiply() of a thread

namespace quanto::kernels {
namespace {

/// Rows [begin, end) of the block of rows that starts at `first`.
struct UnitRows {
  int64_t first;
  int64_t begin;
  int64_t end;
};

template <typename Tiles>
constexpr bool kTakesParts = requires { Tiles::kTakesParts; };

/// The rows of a tile by the panel of k in [k, k + depth).
template <bool kScaled, typename Tiles>
void multiply_parts(const KPlan& k_plan, const TileInput& input,
                    const WordRoom& room, int64_t row, int64_t rows, int64_t k,
                    int64_t depth, float* sums) {
  constexpr int64_t kWordK = Tiles::Words::kWordK;
  const int64_t k_words = k_plan.terms * Tiles::padded(rows);
  const int64_t part_words = k_plan.part / kWordK;
  TilePart part = {input.tiles + row * k_plan.row_words + k / kWordK * k_words,
                   room.panel,
                   0,
                   1,
                   k_plan.terms,
                   kScaled ? room.scales.scale : nullptr,
                   kScaled ? room.scales.shift : nullptr,
                   kScaled || Tiles::kSums ? input.x_sums + row * k_plan.parts +
                                                 k / k_plan.part * rows
                                           : nullptr};
  int64_t parts = 1;
  for (int64_t at = 0; at < depth; at += parts * k_plan.part) {
    const int64_t part_k = smaller(k_plan.part, depth - at);
    part.words = round_up(part_k, Tiles::kPadK) / kWordK;
    if constexpr (kTakesParts<Tiles>) {
      parts = larger(1, (depth - at) / k_plan.part);
      part.parts = parts;
    }
    Tiles::multiply(part, rows, k + at == 0, sums);
    part.tile += parts * part_words * k_words;
    part.panel += parts * part_words * kPanelColumns;
    if constexpr (kScaled) {
      part.scale += parts * kPanelColumns;
      part.shift += parts * kPanelColumns;
    }
    if constexpr (kScaled || Tiles::kSums) part.x_sums += parts * rows;
  }
}

/// Whether an infinity of x becomes NaN: in its later terms (linear_terms.h),
/// or in the difference of a scaled and a shifted sum.
template <bool kScaled>
bool may_lose_infinities(const KPlan& k_plan) {
  return k_plan.terms > 1 || kScaled;
}

/// The tiles of a unit by the panel of k in [k, k + depth), to sums [padded
/// rows][kPanelColumns]; with the last k to the output, a tile's sums while
/// they are in the first cache. False if one of them is not finite.
template <bool kScaled, typename Tiles>
bool multiply_panel(const LinearProblem& problem, const KPlan& k_plan,
                    const TileInput& input, const UnitRows& unit,
                    const WordRoom& room, int64_t k, int64_t depth,
                    const CodesAhead& ahead, const PanelEpilogue& epilogue,
                    float* sums) {
  const bool last = k + depth == problem.k;
  bool finite = true;
  const auto rows_of = [&](int64_t row) {
    return smaller(Tiles::kRows, unit.end - row);
  };
  const auto finish = [&](int64_t row) {
    float* done = sums + (row - unit.begin) * kPanelColumns;
    const int64_t count = rows_of(row) * kPanelColumns;
    if constexpr (!kScaled) Tiles::finish(done, count);
    finite = finite &&
             (!may_lose_infinities<kScaled>(k_plan) || all_finite(done, count));
    epilogue.store(unit.first + row, rows_of(row), done);
  };
  const int64_t tiles = ceil_div(unit.end - unit.begin, Tiles::kRows);
  for (int64_t row = unit.begin; row < unit.end; row += Tiles::kRows) {
    if (tiles > 1) ahead.ask((row - unit.begin) / Tiles::kRows, tiles);
    multiply_parts<kScaled, Tiles>(k_plan, input, room, row, rows_of(row), k,
                                   depth,
                                   sums + (row - unit.begin) * kPanelColumns);
    if (last) finish(row);
  }
  return finite;
}

/// One unit: some rows, and the column blocks from `first_block` on. Rows of a
/// block of k stay in the second cache while the unit's panels pass. False if a
/// sum is not finite.
template <QTypeId kType, typename Tiles>
bool run_word_unit(const LinearProblem& problem, const LinearArgs& args,
                   const PanelPlan& plan, const KPlan& k_plan,
                   const TileInput& input, const UnitRows& unit,
                   int64_t first_block, Executor& executor) {
  using Words = typename Tiles::Words;
  constexpr bool kScaled = bits_of(kType) < 8 && !kHoldsWeights<Words>;
  const int64_t panel_sums =
      Tiles::padded(unit.end - unit.begin) * kPanelColumns;
  const int64_t panels =
      plan.planes * smaller(plan.unit_blocks, plan.column_blocks - first_block);
  const WordRoom room =
      word_room<Words>(problem, k_plan, panels * panel_sums, executor);
  bool finite = true;
  Tiles::begin();
  for (int64_t k = 0; k < problem.k; k += k_plan.block) {
    const int64_t depth = smaller(k_plan.block, problem.k - k);
    for (int64_t p = 0; p < panels; ++p) {
      const PanelOutputs at = panel_outputs(plan, first_block, p);
      if constexpr (bits_of(kType) < 8) {
        load_word_scales(problem, args, at, k, depth, room.scales);
      }
      decode_word_panel<kType, Words>(problem, args, plan, at.first,
                                      at.first + at.count - 1, k, depth,
                                      room.scales, room.panel);
      pad_panel<Words>(depth, Tiles::kPadK, room.panel);
      const PanelEpilogue epilogue(problem, args, at);
      finite &= multiply_panel<kScaled, Tiles>(
          problem, k_plan, input, unit, room, k, depth,
          codes_after(problem, args, plan, k_plan, first_block,
                      first_block + p / plan.planes, k),
          epilogue, room.sums + p * panel_sums);
    }
  }
  Tiles::end();
  return finite;
}

/// Rows [m0, m0 + rows). False if a sum of terms is not finite.
template <QTypeId kType, typename Tiles>
bool run_word_block(const LinearProblem& problem, const LinearArgs& args,
                    const KPlan& k_plan, const TileInput& input, int64_t m0,
                    int64_t rows, Executor& executor) {
  PanelPlan plan = plan_panels(problem, rows, Tiles::kRows, executor.threads());
  plan.unit_blocks = blocks_of_unit(plan, k_plan, rows, executor.threads());
  for_units(executor, plan.tiles, Tiles::kRows * problem.k * kPackWork,
            [&](int64_t begin, int64_t end) {
              for (int64_t t = begin; t < end; ++t) {
                const int64_t row = t * Tiles::kRows;
                pack_rows<Tiles>(problem, args, k_plan, m0, row,
                                 smaller(Tiles::kRows, rows - row), input);
              }
            });
  bool finite = true;
  for_panel_units(problem, plan, rows, executor,
                  [&](int64_t begin, int64_t end, int64_t column_block) {
                    if (!run_word_unit<kType, Tiles>(
                            problem, args, plan, k_plan, input,
                            {m0, begin, end}, column_block, executor)) {
                      __atomic_store_n(&finite, false, __ATOMIC_RELAXED);
                    }
                  });
  return finite;
}

template <QTypeId kType, typename Tiles>
void run_words(const LinearProblem& problem, const LinearArgs& args,
               Executor& executor) {
  const KPlan k_plan = plan_k<Tiles>(problem);
  const int64_t most_rows = block_rows<Tiles>(k_plan);
  const int64_t block = Tiles::padded(smaller(most_rows, problem.m));
  const int64_t words = block * k_plan.row_words;
  auto* room = reinterpret_cast<uint32_t*>(executor.workspace(
      static_cast<size_t>(words + block * k_plan.parts) * sizeof(uint32_t)));
  const bool sums = Tiles::kSums || (problem.shift != ShiftKind::kNone &&
                                     !kHoldsWeights<typename Tiles::Words>);
  const TileInput input = {
      room, sums ? reinterpret_cast<float*>(room + words) : nullptr};
  bool finite = true;
  for (int64_t m0 = 0; m0 < problem.m && finite; m0 += most_rows) {
    finite = run_word_block<kType, Tiles>(problem, args, k_plan, input, m0,
                                          smaller(most_rows, problem.m - m0),
                                          executor);
  }
  // An infinity or a NaN of x or of the weight, or an overflow: here each may
  // become NaN where it would not in fp32.
  if (!finite) run_panels<kType>(problem, args, executor);
}

/// Parts of k must start at whole multiples of kPadK and lie in one group.
template <typename Tiles>
bool word_tiles_support(const LinearProblem& problem) {
  return problem.k > 0 && (problem.group_size == problem.k ||
                           (problem.group_size % Tiles::kPadK == 0 &&
                            problem.group_size <= kWordDepth));
}

template <typename Tiles>
void run_pair_tiles(const LinearProblem& problem, const LinearArgs& args,
                    Executor& executor) {
  switch (problem.weight) {
    case QTypeId::kQInt2:
      return run_words<QTypeId::kQInt2, Tiles>(problem, args, executor);
    case QTypeId::kQInt4:
      return run_words<QTypeId::kQInt4, Tiles>(problem, args, executor);
    case QTypeId::kQInt8:
      return run_words<QTypeId::kQInt8, Tiles>(problem, args, executor);
    case QTypeId::kQFloat8E4M3FN:
      return run_words<QTypeId::kQFloat8E4M3FN, Tiles>(problem, args, executor);
    case QTypeId::kQFloat8E5M2:
      return run_words<QTypeId::kQFloat8E5M2, Tiles>(problem, args, executor);
    case QTypeId::kQFloat8E4M3FNUZ:
      return run_words<QTypeId::kQFloat8E4M3FNUZ, Tiles>(problem, args,
                                                         executor);
  }
}

/// bfloat16 by packed weights that are rounded to it, as a dense weight is.
/// Tiles::kFewestDenseRows: from where the scales of groups cost more in sums
/// than in a panel.
template <typename Tiles>
bool dense_tiles_support(const LinearProblem& problem) {
  return problem.m >= Tiles::kFewestDenseRows && bits_of(problem.weight) < 8 &&
         problem.input == DType::kBFloat16 &&
         problem.scale == DType::kBFloat16 &&
         word_tiles_support<Tiles>(problem);
}

template <typename Tiles>
void run_dense_tiles(const LinearProblem& problem, const LinearArgs& args,
                     Executor& executor) {
  if (problem.weight == QTypeId::kQInt2) {
    run_words<QTypeId::kQInt2, Tiles>(problem, args, executor);
  } else {
    run_words<QTypeId::kQInt4, Tiles>(problem, args, executor);
  }
}

/// int8 codes of both, exact in int32.
template <typename Tiles, typename PackedTiles = Tiles>
void run_byte_tiles(const LinearProblem& problem, const LinearArgs& args,
                    Executor& executor) {
  switch (problem.weight) {
    case QTypeId::kQInt2:
      return run_words<QTypeId::kQInt2, PackedTiles>(problem, args, executor);
    case QTypeId::kQInt4:
      return run_words<QTypeId::kQInt4, PackedTiles>(problem, args, executor);
    default:
      return run_words<QTypeId::kQInt8, Tiles>(problem, args, executor);
  }
}

template <typename Tiles>
bool byte_tiles_support(const LinearProblem& problem) {
  return word_tiles_support<Tiles>(problem) && problem.input == DType::kInt8 &&
         is_integer(problem.weight) && problem.k <= kMostIntK;
}

}  // namespace
}  // namespace quanto::kernels
