// SPDX-License-Identifier: Apache-2.0
#include <string>
#include <vector>

#include "quanto/core/error.h"
#include "quanto/core/grouping.h"
#include "quanto/core/qtype.h"
#include "quanto/kernels/cpu/dispatch.h"
#include "quanto/ops/conv2d_way.h"
#include "quanto/ops/tensor.h"

namespace quanto::ops {
namespace {

using kernels::InputScale;
using kernels::LinearProblem;
using kernels::ShiftKind;

constexpr const char* kPlan = "plan";
constexpr const char* kPlanConv2d = "plan_conv2d";

std::optional<int64_t> automatic_group_size_of(int64_t elements) {
  return automatic_group_size(elements);
}

std::string qtype_table() {
  std::string lines;
  for (const QType& type : kQTypes) {
    // Sub-byte codes are signed in the public table, whatever their packing.
    const DType dtype = type.bits == 8 ? type.storage : DType::kInt8;
    fmt::format_to(std::back_inserter(lines), "{} {} {} {} {:g} {:g}\n",
                   type.name, type.is_floating_point, type.bits, name_of(dtype),
                   type.qmin, type.qmax);
  }
  return lines;
}

ShiftKind check_shift_name(const char* op, const std::string& name) {
  check_value(name == "none" || name == "float" || name == "integer",
              "{}: expected shift none, float or integer, got '{}'", op, name);
  if (name == "none") return ShiftKind::kNone;
  return name == "float" ? ShiftKind::kFloat : ShiftKind::kInteger;
}

/// A problem of `elements` products for each of `outputs`, whose types and
/// groups were checked.
LinearProblem check_problem(const char* op,
                            torch::headeronly::ScalarType activation,
                            const std::string& qtype_name, int64_t elements,
                            int64_t outputs, std::optional<int64_t> group_size,
                            const std::string& shift) {
  const auto dtype = find_dtype(activation);
  const bool codes = dtype && find_8bit_qtype(*dtype) != nullptr;
  check_value(codes || (dtype && is_activation(*dtype)),
              "{}: expected activation float32, float16, bfloat16, int8 or a "
              "float8 type, got {}",
              op, dtype_name(activation));
  const QType* type = find_qtype(qtype_name);
  check_value(type != nullptr, "{}: expected the name of a qtype, got '{}'", op,
              qtype_name);
  check_value(!group_size || (*group_size > 0 && elements % *group_size == 0),
              "{}: expected group_size to divide {}, got {}", op, elements,
              group_size.value_or(0));
  const ShiftKind kind = check_shift_name(op, shift);
  check_value((kind == ShiftKind::kNone) == (type->bits == 8),
              "{}: expected shift none with 8 bits only, got '{}' for {}", op,
              shift, type->name);
  LinearProblem problem{};
  problem.n = outputs;
  problem.k = elements;
  problem.input = *dtype;
  problem.input_scale = codes ? InputScale::kTensor : InputScale::kNone;
  problem.activation = problem.scale = codes ? DType::kFloat32 : *dtype;
  problem.weight = type->id;
  problem.group_size = group_size.value_or(elements);
  problem.shift = kind;
  return problem;
}

std::string plan(torch::headeronly::ScalarType activation,
                 const std::string& qtype_name, int64_t rows,
                 int64_t in_features, int64_t out_features,
                 std::optional<int64_t> group_size, const std::string& shift) {
  LinearProblem problem =
      check_problem(kPlan, activation, qtype_name, in_features, out_features,
                    group_size, shift);
  problem.m = rows;
  const kernels::KernelTable& table = kernels::kernels();
  return fmt::format("{} {}", kernels::plan_linear(table, problem).name,
                     table.isa);
}

std::string plan_conv2d(torch::headeronly::ScalarType activation,
                        const std::string& qtype_name, int64_t pixels,
                        const std::vector<int64_t>& size,
                        const std::vector<int64_t>& stride, int64_t groups,
                        std::optional<int64_t> group_size,
                        const std::string& shift) {
  const int64_t none[2] = {0, 0}, one[2] = {1, 1};
  check_conv_options(kPlanConv2d, size, stride, none, one, groups);
  const int64_t elements = size[1] * size[2] * size[3];
  const LinearProblem problem =
      check_problem(kPlanConv2d, activation, qtype_name, elements, size[0],
                    group_size, shift);
  const ConvGeometry conv{.images = 1,
                          .channels = size[1] * groups,
                          .input = {},
                          .outputs = size[0],
                          .groups = groups,
                          .kernel = {size[2], size[3]},
                          .stride = {stride[0], stride[1]},
                          .padding = {0, 0},
                          .dilation = {1, 1},
                          .output = {1, pixels},
                          .batched = true};
  return fmt::format("{} {}", conv_kernel(conv, problem),
                     kernels::kernels().isa);
}

std::string isa() { return std::string(kernels::kernels().isa); }

std::string available_isas() {
  std::string names;
  for (const kernels::KernelTable* table : kernels::available_kernels()) {
    if (!names.empty()) names += ',';
    names += table->isa;
  }
  return names;
}

}  // namespace

// No tensor says which backend is asked, so these stand under a key that every
// call without tensors finds.
STABLE_TORCH_LIBRARY_IMPL(quanto, CompositeExplicitAutograd, m) {
  m.impl("automatic_group_size", TORCH_BOX(&automatic_group_size_of));
  m.impl("qtype_table", TORCH_BOX(&qtype_table));
  m.impl("plan", TORCH_BOX(&plan));
  m.impl("plan_conv2d", TORCH_BOX(&plan_conv2d));
  m.impl("isa", TORCH_BOX(&isa));
  m.impl("available_isas", TORCH_BOX(&available_isas));
}

}  // namespace quanto::ops
