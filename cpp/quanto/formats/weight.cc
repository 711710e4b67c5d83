// SPDX-License-Identifier: Apache-2.0
#include "quanto/formats/weight.h"

#include <cstring>

#include "quanto/core/float_convert.h"
#include "quanto/core/grouping.h"
#include "quanto/kernels/cpu/dispatch.h"
#include "quanto/scale/absmax.h"
#include "quanto/scale/hqq.h"
#include "quanto/scale/max.h"

namespace quanto::formats {
namespace {

using kernels::ShiftKind;

void store_one(DType dtype, void* out) {
  if (dtype == DType::kFloat32) {
    const float one = 1.0F;
    std::memcpy(out, &one, sizeof(one));
    return;
  }
  const uint16_t one =
      dtype == DType::kFloat16 ? fp16_from_float(1.0F) : bf16_from_float(1.0F);
  std::memcpy(out, &one, sizeof(one));
}

/// A single row has a scale of its own, or of the tensor: the same.
AxisView view_of(int64_t rows, int64_t columns) { return {1, rows, columns}; }

GroupLayout layout_of(int64_t rows, int64_t columns, WeightFacts facts) {
  const int64_t width = facts.group_size.value_or(columns);
  return {false, rows, columns / width, width};
}

void quantize_bytes(const Matrix& weight, const QType& type,
                    std::vector<NamedBuffer>& out, Executor& executor) {
  const AxisView view = view_of(weight.rows, weight.columns);
  void* scale = out[1].buffer.data();
  scale::absmax(weight.data, weight.dtype, view, type, scale, executor);
  kernels::kernels().quantize_symmetric(weight.data, weight.dtype, view, scale,
                                        type.storage, out[0].buffer.data(),
                                        executor);
}

void quantize_bits(const Matrix& weight, WeightFacts facts, Optimizer optimizer,
                   std::vector<NamedBuffer>& out, Executor& executor) {
  const int bits = qtype(facts.qtype).bits;
  const GroupLayout layout = layout_of(weight.rows, weight.columns, facts);
  void* scale = out[1].buffer.data();
  void* shift = out[2].buffer.data();
  if (optimizer == Optimizer::kHqq) {
    scale::hqq(weight.data, weight.dtype, layout, bits, {}, scale, shift,
               executor);
  } else {
    scale::max(weight.data, weight.dtype, layout, bits, scale, shift, executor);
  }
  Buffer codes(static_cast<size_t>(layout.numel()));
  auto* code_bytes = reinterpret_cast<uint8_t*>(codes.data());
  kernels::kernels().quantize_affine(weight.data, weight.dtype, layout, bits,
                                     scale, shift, ShiftKind::kFloat,
                                     code_bytes, executor);
  kernels::kernels().pack(
      code_bytes, layout.code_rows(), layout.code_columns(), bits,
      reinterpret_cast<uint8_t*>(out[0].buffer.data()), executor);
}

}  // namespace

std::vector<NamedBuffer> quantize_weight(const std::string& module,
                                         const Matrix& weight,
                                         WeightFacts facts, Optimizer optimizer,
                                         Executor& executor) {
  const QType& type = qtype(facts.qtype);
  std::vector<NamedBuffer> out;
  for (const io::TensorInfo& tensor : stored_tensors(
           module, facts, weight.dtype, weight.rows, weight.columns)) {
    // A part of what is mapped, so its size fits.
    out.push_back(
        {tensor.name,
         Buffer(io::tensor_bytes(*tensor.type, tensor.shape).value_or(0))});
  }
  if (type.bits == 8) {
    quantize_bytes(weight, type, out, executor);
  } else {
    quantize_bits(weight, facts, optimizer, out, executor);
  }
  for (size_t i = out.size() - 2; i < out.size(); ++i) {
    store_one(weight.dtype, out[i].buffer.data());
  }
  return out;
}

void dequantize_weight(const StoredWeight& weight, WeightFacts facts, void* out,
                       Executor& executor) {
  const QType& type = qtype(facts.qtype);
  if (type.bits == 8) {
    kernels::kernels().dequantize_symmetric(
        weight.data, type.storage, view_of(weight.rows, weight.columns),
        weight.scale, weight.dtype, out, executor);
    return;
  }
  kernels::kernels().dequantize_affine(
      static_cast<const uint8_t*>(weight.data),
      layout_of(weight.rows, weight.columns, facts), type.bits, weight.scale,
      weight.shift,
      weight.integer_shift ? ShiftKind::kInteger : ShiftKind::kFloat,
      weight.dtype, out, executor);
}

}  // namespace quanto::formats
