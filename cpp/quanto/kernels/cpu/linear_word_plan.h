// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/cpu/linear_word_decode.h"

// How the ways by panels of words cut k, and the memory that they take.

namespace quanto::kernels {
namespace {

/// A block of k is what a panel holds, a part of it lies in one group.
struct KPlan {
  int64_t part;
  int64_t block;
  int64_t parts;
  int64_t padded;     ///< k rounded up to what tiles hold
  int64_t terms;      ///< of an element of x (linear_terms.h)
  int64_t row_words;  ///< of a row of x in its tile
};

template <typename Tiles>
KPlan plan_k(const LinearProblem& problem) {
  const int64_t padded = round_up(problem.k, Tiles::kPadK);
  const int64_t terms = terms_of(problem.input);
  // Scales of groups are applied to the sums of parts, or are in the panel.
  const bool whole =
      bits_of(problem.weight) == 8 || kHoldsWeights<typename Tiles::Words>;
  const int64_t part =
      smaller(whole ? problem.k : problem.group_size, kWordDepth);
  return {part,
          larger(part, kWordDepth / part * part),
          ceil_div(problem.k, part),
          padded,
          terms,
          padded / Tiles::Words::kWordK * terms};
}

/// Tiles of a block of rows, and the sums of x of each part of k:
/// [tile][part][rows].
struct TileInput {
  uint32_t* tiles;
  float* x_sums;  ///< null where nothing asks for them
};

/// Packs rows [row, row + rows) of the block that starts at m0: one tile.
template <typename Tiles>
void pack_rows(const LinearProblem& problem, const LinearArgs& args,
               const KPlan& k_plan, int64_t m0, int64_t row, int64_t rows,
               const TileInput& out) {
  Tiles::pack(problem, args, m0 + row, rows,
              out.tiles + row * k_plan.row_words);
  if (out.x_sums == nullptr) return;
  float* sums = out.x_sums + row * k_plan.parts;
  for (int64_t p = 0; p < k_plan.parts; ++p) {
    const int64_t k = p * k_plan.part;
    const int64_t count = smaller(k_plan.part, problem.k - k);
    for (int64_t r = 0; r < rows; ++r) {
      *sums++ = input_sum(problem, args, (m0 + row + r) * problem.k + k, count);
    }
  }
}

/// Room of one unit: sums [planes][rows][kPanelColumns], a panel, and the
/// scales and shifts of its groups.
struct WordRoom {
  float* sums;
  uint32_t* panel;
  PanelScales scales;
};

template <typename Words>
WordRoom word_room(const LinearProblem& problem, const KPlan& k_plan,
                   int64_t sums, Executor& executor) {
  constexpr int64_t kPanel = kWordDepth / Words::kWordK * kPanelColumns;
  // A panel of weights may start and end inside a group.
  const int64_t scales =
      (k_plan.block / smaller(k_plan.part, problem.group_size) + 2) *
      kPanelColumns;
  auto* room = reinterpret_cast<float*>(executor.scratch(
      static_cast<size_t>(sums + kPanel + 2 * scales) * sizeof(float)));
  float* scale = room + sums + kPanel;
  return {room,
          reinterpret_cast<uint32_t*>(room + sums),
          {scale, scale + scales, problem.group_size,
           problem.shift == ShiftKind::kInteger}};
}

/// Scales and shifts (in units of the weight) of the groups that k in [k0, k0 +
/// depth) of a panel lies in.
inline void load_word_scales(const LinearProblem& problem,
                             const LinearArgs& args, PanelOutputs outputs,
                             int64_t k0, int64_t depth,
                             const PanelScales& out) {
  const int64_t first = k0 / problem.group_size;
  const int64_t groups = (k0 + depth - 1) / problem.group_size - first + 1;
  load_panel_scales(problem, args, outputs.first, outputs.count, first, groups,
                    out);
  if (!out.integer) return;
  for (int64_t i = 0; i < groups * kPanelColumns; i += kLanes) {
    store(out.shift + i, mul(load(out.shift + i), load(out.scale + i)));
  }
}

/// Bytes of x that leave the second cache room for panels and sums.
constexpr int64_t kMostInput = int64_t{1} << 20;

/// Rows of activations held as tiles at a time: as many as stay in the second
/// cache if those are enough to pay for decoding the weight, which more terms
/// make cheaper by comparison.
template <typename Tiles>
int64_t block_rows(const KPlan& k_plan) {
  constexpr int64_t kRows = Tiles::kRows;
  const int64_t fit = kMostInput / (k_plan.row_words * 4) / kRows * kRows;
  const int64_t enough = Tiles::kBlockRows / k_plan.terms / kRows * kRows;
  return fit >= enough ? smaller(fit, Tiles::kBlockRows) : Tiles::kBlockRows;
}

/// How many column blocks a unit takes. More than one pay where the rows exceed
/// the second cache; then a block of k of them fits with the sums of these, and
/// every thread gets two units.
inline int64_t blocks_of_unit(const PanelPlan& plan, const KPlan& k_plan,
                              int64_t rows, int threads) {
  constexpr int64_t kMostSums = int64_t{512} << 10;
  if (rows * k_plan.row_words * 4 <= kMostInput) return 1;
  const int64_t sums = plan.planes * rows * kPanelColumns * 4;
  return larger(1,
                smaller(kMostSums / sums, plan.column_blocks / (2 * threads)));
}

}  // namespace
}  // namespace quanto::kernels
