// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/cpu/linear_pair_decode.h"

// bfloat16 activations by panels of codes, whatever multiplies them. Sums are
// fp32; scale and shift are applied to the sums of a part of k that lies within
// one group.
//
// `Tiles` is what multiplies:
//   kRows                rows of a tile
//   kBlockRows           rows of activations held as tiles at a time
//   kPadK                k of a part is padded to a multiple of it
//   padded(rows)         rows of tile and sums that `rows` take up
//   pack(...)            rows of the input to a tile
//   multiply(...)        sums (+)= scale * (tile times panel) - x_sums * shift
//   begin(), end()       around the calls of multiply() of a thread

namespace quanto::kernels {
namespace {

/// How k is cut: a block is what a panel holds, a part lies in one group.
struct KPlan {
  int64_t part;
  int64_t block;
  int64_t parts;
  int64_t padded;  ///< k rounded up to what tiles hold
};

inline KPlan plan_k(const LinearProblem& problem, int64_t pad_k) {
  const int64_t part = smaller(problem.group_size, kPairDepth);
  return {part, kPairDepth / part * part, ceil_div(problem.k, part),
          round_up(problem.k, pad_k)};
}

/// Tiles of a block of rows, and the sums of x of each part of k:
/// [tile][part][rows].
struct TileInput {
  uint32_t* tiles;
  float* x_sums;
};

template <typename Tiles>
void pack_rows(const LinearProblem& problem, const LinearArgs& args,
               const KPlan& k_plan, int64_t m0, int64_t row, int64_t rows,
               const TileInput& out) {
  Tiles::pack(problem, args, m0 + row, rows,
              out.tiles + row * k_plan.padded / 2);
  if (problem.shift == ShiftKind::kNone) return;
  const auto* input = static_cast<const uint8_t*>(args.input);
  float* sums = out.x_sums + row * k_plan.parts;
  for (int64_t p = 0; p < k_plan.parts; ++p) {
    const int64_t k = p * k_plan.part;
    for (int64_t r = 0; r < rows; ++r) {
      *sums++ = row_sum(input + 2 * ((m0 + row + r) * problem.k + k),
                        smaller(k_plan.part, problem.k - k));
    }
  }
}

/// Room of one unit: sums [planes][rows][kPanelColumns], a panel, and the
/// scales and shifts of its groups.
struct PairRoom {
  float* sums;
  uint32_t* panel;
  PanelScales scales;
};

inline PairRoom pair_room(const LinearProblem& problem, const KPlan& k_plan,
                          int64_t sums, Executor& executor) {
  constexpr int64_t kPanel = kPairDepth / 2 * kPanelColumns;
  const int64_t scales = k_plan.block / k_plan.part * kPanelColumns;
  auto* room = reinterpret_cast<float*>(executor.scratch(
      static_cast<size_t>(sums + kPanel + 2 * scales) * sizeof(float)));
  float* scale = room + sums + kPanel;
  return {room,
          reinterpret_cast<uint32_t*>(room + sums),
          {scale, scale + scales, problem.group_size,
           problem.shift == ShiftKind::kInteger}};
}

/// Scales and shifts (in units of the weight) of the parts of a panel.
inline void load_part_scales(const LinearProblem& problem,
                             const LinearArgs& args, const KPlan& k_plan,
                             int64_t output, int64_t outputs, int64_t k0,
                             int64_t depth, const PanelScales& out) {
  const int64_t parts = ceil_div(depth, k_plan.part);
  load_panel_scales(problem, args, output, outputs, k0 / problem.group_size,
                    parts, out);
  if (!out.integer) return;
  for (int64_t i = 0; i < parts * kPanelColumns; i += kLanes) {
    store(out.shift + i, mul(load(out.shift + i), load(out.scale + i)));
  }
}

/// Rows [begin, end) of the block of rows that starts at `first`.
struct UnitRows {
  int64_t first;
  int64_t begin;
  int64_t end;
};

/// sums (+)= rows times the panel of k in [k, k + depth).
template <bool kScaled, typename Tiles>
void multiply_panel(const KPlan& k_plan, const TileInput& input,
                    const UnitRows& unit, const PairRoom& room, int64_t k,
                    int64_t depth, float* sums) {
  for (int64_t r = unit.begin; r < unit.end; r += Tiles::kRows) {
    const int64_t rows = smaller(Tiles::kRows, unit.end - r);
    const uint32_t* tile = input.tiles + r * k_plan.padded / 2;
    for (int64_t at = 0; at < depth; at += k_plan.part) {
      const int64_t group = at / k_plan.part * kPanelColumns;
      const int64_t part_k = smaller(k_plan.part, depth - at);
      TilePart part = {tile + (k + at) / 2 * Tiles::padded(rows),
                       room.panel + at / 2 * kPanelColumns,
                       round_up(part_k, Tiles::kPadK) / 2,
                       nullptr,
                       nullptr,
                       nullptr};
      if constexpr (kScaled) {
        part.scale = room.scales.scale + group;
        part.shift = room.scales.shift + group;
        part.x_sums =
            input.x_sums + r * k_plan.parts + (k + at) / k_plan.part * rows;
      }
      Tiles::multiply(part, rows, k + at == 0,
                      sums + (r - unit.begin) * kPanelColumns);
    }
  }
}

/// One unit: some rows, and the column blocks from `first_block` on. Rows of a
/// block of k stay in the second cache while the unit's panels pass.
template <QTypeId kType, typename Tiles>
void run_pair_unit(const LinearProblem& problem, const LinearArgs& args,
                   const PanelPlan& plan, const KPlan& k_plan,
                   const TileInput& input, const UnitRows& unit,
                   int64_t first_block, Executor& executor) {
  constexpr bool kScaled = bits_of(kType) < 8;
  const int64_t rows = unit.end - unit.begin;
  const int64_t panel_sums = Tiles::padded(rows) * kPanelColumns;
  const int64_t panels =
      plan.planes * smaller(plan.unit_blocks, plan.column_blocks - first_block);
  const PairRoom room =
      pair_room(problem, k_plan, panels * panel_sums, executor);
  Tiles::begin();
  for (int64_t k = 0; k < problem.k; k += k_plan.block) {
    const int64_t depth = smaller(k_plan.block, problem.k - k);
    for (int64_t p = 0; p < panels; ++p) {
      const PanelOutputs at = panel_outputs(plan, first_block, p);
      decode_panel_bf16<kType>(problem, args, plan, at.first,
                               at.first + at.count - 1, k, depth, room.panel);
      pad_panel(depth, Tiles::kPadK, room.panel);
      if constexpr (kScaled) {
        load_part_scales(problem, args, k_plan, at.first, at.count, k, depth,
                         room.scales);
      }
      multiply_panel<kScaled, Tiles>(k_plan, input, unit, room, k, depth,
                                     room.sums + p * panel_sums);
    }
  }
  Tiles::end();
  for (int64_t p = 0; p < panels; ++p) {
    const PanelOutputs at = panel_outputs(plan, first_block, p);
    finish_panel(problem, args, unit.first + unit.begin, rows, at.first,
                 at.count, room.sums + p * panel_sums);
  }
}

/// How many column blocks a unit takes. More than one pay where the rows exceed
/// the second cache; then a block of k of them fits with the sums of these, and
/// every thread gets two units.
inline int64_t blocks_of_unit(const PanelPlan& plan, const KPlan& k_plan,
                              int64_t rows, int threads) {
  constexpr int64_t kMostInput = int64_t{1} << 20;
  constexpr int64_t kMostSums = int64_t{512} << 10;
  if (rows * k_plan.padded * 2 <= kMostInput) return 1;
  const int64_t sums = plan.planes * rows * kPanelColumns * 4;
  return larger(1,
                smaller(kMostSums / sums, plan.column_blocks / (2 * threads)));
}

template <QTypeId kType, typename Tiles>
void run_pairs(const LinearProblem& problem, const LinearArgs& args,
               Executor& executor) {
  const KPlan k_plan = plan_k(problem, Tiles::kPadK);
  const int64_t block = Tiles::padded(smaller(Tiles::kBlockRows, problem.m));
  auto* room = executor.workspace(
      static_cast<size_t>(block * (k_plan.padded * 2 + k_plan.parts * 4)));
  const TileInput input = {
      reinterpret_cast<uint32_t*>(room),
      reinterpret_cast<float*>(room + block * k_plan.padded * 2)};
  for (int64_t m0 = 0; m0 < problem.m; m0 += Tiles::kBlockRows) {
    const int64_t rows = smaller(Tiles::kBlockRows, problem.m - m0);
    PanelPlan plan =
        plan_panels(problem, rows, Tiles::kRows, executor.threads());
    plan.unit_blocks = blocks_of_unit(plan, k_plan, rows, executor.threads());
    for_units(executor, plan.tiles, Tiles::kRows * problem.k * kPackWork,
              [&](int64_t begin, int64_t end) {
                for (int64_t t = begin; t < end; ++t) {
                  const int64_t row = t * Tiles::kRows;
                  pack_rows<Tiles>(problem, args, k_plan, m0, row,
                                   smaller(Tiles::kRows, rows - row), input);
                }
              });
    for_panel_units(problem, plan, rows, executor,
                    [&](int64_t begin, int64_t end, int64_t column_block) {
                      run_pair_unit<kType, Tiles>(problem, args, plan, k_plan,
                                                  input, {m0, begin, end},
                                                  column_block, executor);
                    });
  }
}

template <typename Tiles>
void run_pair_tiles(const LinearProblem& problem, const LinearArgs& args,
                    Executor& executor) {
  switch (problem.weight) {
    case QTypeId::kQInt2:
      return run_pairs<QTypeId::kQInt2, Tiles>(problem, args, executor);
    case QTypeId::kQInt4:
      return run_pairs<QTypeId::kQInt4, Tiles>(problem, args, executor);
    case QTypeId::kQInt8:
      return run_pairs<QTypeId::kQInt8, Tiles>(problem, args, executor);
    case QTypeId::kQFloat8E4M3FN:
      return run_pairs<QTypeId::kQFloat8E4M3FN, Tiles>(problem, args, executor);
    case QTypeId::kQFloat8E5M2:
      return run_pairs<QTypeId::kQFloat8E5M2, Tiles>(problem, args, executor);
    case QTypeId::kQFloat8E4M3FNUZ:
      return run_pairs<QTypeId::kQFloat8E4M3FNUZ, Tiles>(problem, args,
                                                         executor);
  }
}

/// Parts of k must start at whole multiples of kPadK and lie in one group.
template <typename Tiles>
bool pair_tiles_support(const LinearProblem& problem) {
  return problem.k > 0 && problem.activation == DType::kBFloat16 &&
         (problem.group_size == problem.k ||
          (problem.group_size % Tiles::kPadK == 0 &&
           problem.group_size <= kPairDepth));
}

}  // namespace
}  // namespace quanto::kernels
