// SPDX-License-Identifier: Apache-2.0
#include "quanto/ops/tensor.h"

#include <array>

#include "quanto/core/error.h"
#include "quanto/core/qtype.h"
#include "quanto/ops/aten.h"

namespace quanto::ops {
namespace {

using torch::headeronly::ScalarType;

/// Indexed by DType: what torch's C interface calls the type.
const std::array<int32_t, 8>& shim_dtypes() {
  static const std::array<int32_t, 8> table = {
      aoti_torch_dtype_float32(),     aoti_torch_dtype_float16(),
      aoti_torch_dtype_bfloat16(),    aoti_torch_dtype_int8(),
      aoti_torch_dtype_uint8(),       aoti_torch_dtype_float8_e4m3fn(),
      aoti_torch_dtype_float8_e5m2(), aoti_torch_dtype_float8_e4m3fnuz(),
  };
  return table;
}

int32_t shim_dtype(const Tensor& tensor) {
  int32_t dtype = 0;
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_dtype(tensor.get(), &dtype));
  return dtype;
}

int32_t device_type(const Tensor& tensor) {
  int32_t type = 0;
  STABLE_TORCH_ERROR_CODE_CHECK(
      aoti_torch_get_device_type(tensor.get(), &type));
  return type;
}

std::string device_name(int32_t type) {
  if (type == aoti_torch_device_type_cpu()) return "cpu";
  if (type == aoti_torch_device_type_meta()) return "meta";
  if (type == aoti_torch_device_type_cuda()) return "cuda";
  return fmt::format("device type {}", type);
}

}  // namespace

std::optional<DType> find_dtype(const Tensor& tensor) {
  const int32_t dtype = shim_dtype(tensor);
  const auto& table = shim_dtypes();
  for (size_t i = 0; i < table.size(); ++i) {
    if (table[i] == dtype) return static_cast<DType>(i);
  }
  return std::nullopt;
}

std::optional<DType> find_dtype(ScalarType type) {
  switch (type) {
    case ScalarType::Float:
      return DType::kFloat32;
    case ScalarType::Half:
      return DType::kFloat16;
    case ScalarType::BFloat16:
      return DType::kBFloat16;
    case ScalarType::Char:
      return DType::kInt8;
    case ScalarType::Byte:
      return DType::kUInt8;
    case ScalarType::Float8_e4m3fn:
      return DType::kFloat8E4M3FN;
    case ScalarType::Float8_e5m2:
      return DType::kFloat8E5M2;
    case ScalarType::Float8_e4m3fnuz:
      return DType::kFloat8E4M3FNUZ;
    default:
      return std::nullopt;
  }
}

std::string dtype_name(ScalarType type) {
  if (const auto dtype = find_dtype(type)) return std::string(name_of(*dtype));
  switch (type) {
    case ScalarType::Double:
      return "float64";
    case ScalarType::Short:
      return "int16";
    case ScalarType::Int:
      return "int32";
    case ScalarType::Long:
      return "int64";
    case ScalarType::Bool:
      return "bool";
    default:
      return torch::headeronly::toString(type);
  }
}

std::string dtype_name(const Tensor& tensor) {
  return dtype_name(tensor.scalar_type());
}

Sizes sizes_of(const Tensor& tensor) {
  const auto sizes = tensor.sizes();
  return {sizes.data(), sizes.size()};
}

Tensor empty(Sizes sizes, DType dtype) {
  std::array<int64_t, kMaxDims> strides;
  int64_t stride = 1;
  for (size_t i = sizes.size(); i-- > 0;) {
    strides[i] = stride;
    stride *= sizes[i] > 0 ? sizes[i] : 1;
  }
  AtenTensorHandle handle = nullptr;
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_empty_strided(
      static_cast<int64_t>(sizes.size()), sizes.data(), strides.data(),
      shim_dtypes()[static_cast<size_t>(dtype)], aoti_torch_device_type_cpu(),
      0, &handle));
  return Tensor(handle);
}

Tensor contiguous(const Tensor& tensor) {
  if (tensor.is_contiguous()) [[likely]] {
    return tensor;
  }
  return aten::contiguous(tensor);
}

void check_device(const char* op, std::initializer_list<const Tensor*> tensors,
                  int32_t expected) {
  for (const Tensor* tensor : tensors) {
    if (tensor == nullptr) continue;
    const int32_t type = device_type(*tensor);
    if (type != expected) [[unlikely]] {
      check_value(false,
                  "{}: expected all tensors on one device, got {} and {}", op,
                  device_name(expected), device_name(type));
    }
  }
}

void check_cpu(const char* op, std::initializer_list<const Tensor*> tensors) {
  check_device(op, tensors, aoti_torch_device_type_cpu());
}

void check_meta(const char* op, std::initializer_list<const Tensor*> tensors) {
  check_device(op, tensors, aoti_torch_device_type_meta());
}

DType check_float(const char* op, const char* name, const Tensor& tensor) {
  const auto dtype = find_dtype(tensor);
  check_value(dtype && is_activation(*dtype),
              "{}: expected {} of float32, float16 or bfloat16, got {}", op,
              name, DtypeName{tensor});
  return *dtype;
}

DType check_8bit(const char* op, const char* name, const Tensor& tensor) {
  const auto dtype = find_dtype(tensor);
  check_value(dtype && find_8bit_qtype(*dtype) != nullptr,
              "{}: expected {} of int8, float8_e4m3fn, float8_e5m2 or "
              "float8_e4m3fnuz, got {}",
              op, name, DtypeName{tensor});
  return *dtype;
}

void check_dtype(const char* op, const char* name, const Tensor& tensor,
                 DType dtype) {
  check_value(find_dtype(tensor) == dtype, "{}: expected {} of {}, got {}", op,
              name, name_of(dtype), DtypeName{tensor});
}

void check_packed_bits(const char* op, int64_t bits) {
  check_value(bits == 2 || bits == 4, "{}: expected 2 or 4 bits, got {}", op,
              bits);
}

}  // namespace quanto::ops
