// SPDX-License-Identifier: Apache-2.0
#include "quanto/ops/weight.h"

#include <algorithm>

#include "quanto/core/error.h"
#include "quanto/core/packing.h"
#include "quanto/ops/shift.h"

namespace quanto::ops {
namespace {

using kernels::LinearProblem;
using kernels::ShiftKind;

void check_8bit_sizes(const char* op, const Weight& weight, Sizes size,
                      LinearProblem* problem) {
  check_value(std::ranges::equal(sizes_of(weight.data), size),
              "{}: expected data of shape {}, got {}", op, Shape{size},
              shape_of(weight.data));
  check_value(!weight.group_size,
              "{}: expected no group_size with 8 bits, got {}", op,
              weight.group_size.value_or(0));
  const int64_t scales = weight.scale.numel();
  check_value(scales == problem->n || scales == 1,
              "{}: expected a scale of 1 or {} elements, got {}", op,
              problem->n, scales);
  problem->group_size = problem->k;
  problem->per_tensor = scales == 1;
}

void check_packed_sizes(const char* op, const Weight& weight,
                        LinearProblem* problem) {
  const int64_t n = problem->n, k = problem->k;
  const int64_t group = weight.group_size.value_or(k);
  check_value(k == 0 || (group > 0 && k % group == 0),
              "{}: expected group_size to divide {}, got {}", op, k, group);
  const int64_t rows = k == 0 ? n : n * (k / group);
  const int64_t bytes =
      packed_rows(rows, static_cast<int>(weight.bits)) * group;
  check_value(weight.data.numel() == bytes,
              "{}: expected data of {} bytes, got {} of shape {}", op, bytes,
              weight.data.numel(), shape_of(weight.data));
  check_value(weight.scale.numel() == rows && weight.shift->numel() == rows,
              "{}: expected a scale and a shift of {} elements, got {} and {}",
              op, rows, weight.scale.numel(), weight.shift->numel());
  problem->group_size = group;
  problem->per_tensor = false;
}

}  // namespace

void check_weight_types(const char* op, const Weight& weight,
                        LinearProblem* problem) {
  problem->scale = check_float(op, "scale", weight.scale);
  if (weight.bits == 8) {
    problem->weight = find_8bit_qtype(check_8bit(op, "data", weight.data))->id;
    check_value(weight.shift == nullptr,
                "{}: expected no shift with 8 bits, got one", op);
    problem->shift = ShiftKind::kNone;
    return;
  }
  check_value(weight.bits == 4 || weight.bits == 2,
              "{}: expected 8, 4 or 2 bits, got {}", op, weight.bits);
  check_dtype(op, "data", weight.data, DType::kUInt8);
  check_value(weight.shift != nullptr,
              "{}: expected a shift with {} bits, got none", op, weight.bits);
  problem->weight = weight.bits == 4 ? QTypeId::kQInt4 : QTypeId::kQInt2;
  problem->shift = check_shift(op, *weight.shift, problem->scale);
}

void check_weight_sizes(const char* op, const Weight& weight, Sizes size,
                        LinearProblem* problem) {
  problem->n = size[0];
  problem->k = 1;
  for (const int64_t length : size.subspan(1)) problem->k *= length;
  if (weight.bits == 8) {
    check_8bit_sizes(op, weight, size, problem);
  } else {
    check_packed_sizes(op, weight, problem);
  }
}

WeightMemory::WeightMemory(const Weight& weight)
    : data(contiguous(weight.data)), scale(contiguous(weight.scale)) {
  if (weight.shift != nullptr) shift = contiguous(*weight.shift);
}

}  // namespace quanto::ops
