// SPDX-License-Identifier: Apache-2.0
#include "quanto/formats/codes.h"

#include <fmt/format.h>

#include "quanto/core/packing.h"

namespace quanto::formats {

using io::Checkpoint;
using io::Error;
using io::Result;
using io::TensorInfo;

namespace {

io::Status check_shift(const Parts& parts) {
  if (parts.shift.tensor == nullptr) {
    return wrong(parts.scale, "a shift beside it", "none");
  }
  const auto& scales = parts.scale.tensor->shape;
  const TensorInfo& shift = *parts.shift.tensor;
  const bool zero_points =
      shift.type->dtype == DType::kUInt8 || shift.type->dtype == DType::kInt8;
  if (shift.shape != scales ||
      (!zero_points && shift.type != parts.scale.tensor->type)) {
    return wrong(
        parts.shift,
        fmt::format("{} of {} or bytes", shape_text(scales),
                    parts.scale.tensor->type->name),
        fmt::format("{} of {}", shape_text(shift.shape), shift.type->name));
  }
  return io::Done{};
}

}  // namespace

Error wrong(const Checkpoint::Found& tensor, const std::string& expected,
            const std::string& got) {
  return {tensor.file->path(),
          tensor.file->header().data_begin + tensor.tensor->begin,
          fmt::format("expected {} as '{}', got {}", expected,
                      tensor.tensor->name, got)};
}

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (const int64_t size : shape) {
    text += fmt::format("{}{}", text.size() > 1 ? ", " : "", size);
  }
  return text + "]";
}

int64_t numel_of(const std::vector<int64_t>& shape) {
  int64_t numel = 1;
  for (const int64_t size : shape) numel *= size;
  return numel;
}

Result<Codes> read_bytes(const Parts& parts) {
  const TensorInfo& data = *parts.data.tensor;
  const auto dtype = data.type->dtype;
  const QType* type = dtype ? find_8bit_qtype(*dtype) : nullptr;
  if (type == nullptr) {
    return wrong(parts.data, "codes of 8 bits", std::string(data.type->name));
  }
  if (parts.shift.tensor != nullptr) {
    return wrong(parts.shift, "no shift of 8-bit codes", "one");
  }
  const int64_t scales = numel_of(parts.scale.tensor->shape);
  const int64_t rows = data.shape.empty() ? 0 : data.shape[0];
  if (rows == 0 || (scales != 1 && scales != rows)) {
    return wrong(parts.scale, fmt::format("a scale for each of {} rows", rows),
                 shape_text(parts.scale.tensor->shape));
  }
  return Codes{{type->id, {}}, data.shape, true};
}

/// 4 or 2 bits show in the rows of codes and scales.
Result<Codes> read_packed(const Parts& parts, std::optional<QTypeId> said) {
  const TensorInfo& data = *parts.data.tensor;
  if (data.shape.size() < 2 || data.type->dtype != DType::kUInt8) {
    return wrong(parts.data, "a matrix of U8", shape_text(data.shape));
  }
  QUANTO_RETURN_IF_ERROR(check_shift(parts));
  const int64_t groups = numel_of(parts.scale.tensor->shape);
  const bool four = packed_rows(groups, 4) == data.shape[0];
  const bool two = packed_rows(groups, 2) == data.shape[0];
  if (groups == 0 || (!four && !two)) {
    return wrong(parts.scale, "one scale for each row of codes",
                 fmt::format("{} for {} packed rows", groups, data.shape[0]));
  }
  Codes codes{{four ? QTypeId::kQInt4 : QTypeId::kQInt2, {}}, data.shape, true};
  // So few groups that both would fit.
  if (four && two) codes.facts.qtype = said.value_or(codes.facts.qtype);
  codes.shape[0] = groups;
  // Codes in groups are a matrix; others have the shape of the weight.
  codes.shape_known = data.shape.size() > 2;
  if (!codes.shape_known) codes.facts.group_size = data.shape[1];
  return codes;
}

}  // namespace quanto::formats
