// SPDX-License-Identifier: Apache-2.0
#include "quanto/nn/stored_tensor.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <utility>

#include "quanto/nn/check.h"

namespace quanto::nn {
namespace {

struct TypeName {
  std::string_view name;
  at::ScalarType type;
};

constexpr std::array<TypeName, 18> kTypes = {{
    {"F32", at::kFloat},
    {"F16", at::kHalf},
    {"BF16", at::kBFloat16},
    {"I8", at::kChar},
    {"U8", at::kByte},
    {"F8_E4M3", at::kFloat8_e4m3fn},
    {"F8_E5M2", at::kFloat8_e5m2},
    {"F8_E4M3FNUZ", at::kFloat8_e4m3fnuz},
    {"F8_E5M2FNUZ", at::kFloat8_e5m2fnuz},
    {"BOOL", at::kBool},
    {"I16", at::kShort},
    {"U16", at::kUInt16},
    {"I32", at::kInt},
    {"U32", at::kUInt32},
    {"I64", at::kLong},
    {"U64", at::kUInt64},
    {"F64", at::kDouble},
    {"C64", at::kComplexFloat},
}};

at::ScalarType type_of(const std::string& name, std::string_view type) {
  for (const TypeName& known : kTypes) {
    if (known.name == type) return known.type;
  }
  check(false, "load: expected a type that torch has for ", name, ", got ",
        std::string(type));
  __builtin_unreachable();
}

}  // namespace

std::string_view file_type_of(at::ScalarType type) {
  for (const TypeName& known : kTypes) {
    if (known.type == type) return known.name;
  }
  return {};
}

at::Tensor mapped_tensor(const std::string& name,
                         const formats::StoredTensor& stored,
                         const std::shared_ptr<const void>& owner) {
  const at::ScalarType type = type_of(name, stored.type);
  const at::IntArrayRef shape(stored.shape);
  const auto element = static_cast<std::uintptr_t>(at::elementSize(type));
  if (reinterpret_cast<std::uintptr_t>(stored.data) % element == 0) {
    return at::from_blob(
        stored.data, shape, [owner](void* /*data*/) {}, at::dtype(type));
  }
  at::Tensor copy = at::empty(shape, at::dtype(type));
  std::memcpy(copy.data_ptr(), stored.data, copy.nbytes());
  return copy;
}

formats::NewTensor new_tensor(std::string name, const at::Tensor& tensor) {
  const std::string_view type = file_type_of(tensor.scalar_type());
  check(!type.empty(), "save: expected a type that the format has for ", name,
        ", got ", tensor.scalar_type());
  check(tensor.layout() == at::kStrided && !tensor.is_meta(),
        "save: expected a dense tensor with values for ", name, ", got ",
        tensor.toString());
  return {std::move(name), type, tensor.sizes().vec(), [tensor] {
            auto rows = std::make_shared<at::Tensor>(
                tensor.detach().cpu().contiguous());
            return std::shared_ptr<const void>(rows, rows->const_data_ptr());
          }};
}

}  // namespace quanto::nn
