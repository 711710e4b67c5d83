// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "quanto/core/dtype.h"

namespace quanto {

enum class QTypeId : uint8_t {
  kQInt2,
  kQInt4,
  kQInt8,
  kQFloat8E4M3FN,
  kQFloat8E5M2,
  kQFloat8E4M3FNUZ,
};

/// One quantized type. `storage` is the element type of 8-bit data; 4- and
/// 2-bit codes are packed into kUInt8 (packing.h) as unsigned `q - qmin`.
/// `qmin` and `qmax` bound the represented codes.
struct QType {
  QTypeId id;
  std::string_view name;
  bool is_floating_point;
  int bits;
  DType storage;
  float qmin;
  float qmax;
};

/// The one table of quantized types; index it by QTypeId.
inline constexpr std::array<QType, 6> kQTypes = {{
    {QTypeId::kQInt2, "qint2", false, 2, DType::kUInt8, -2, 1},
    {QTypeId::kQInt4, "qint4", false, 4, DType::kUInt8, -8, 7},
    {QTypeId::kQInt8, "qint8", false, 8, DType::kInt8, -128, 127},
    {QTypeId::kQFloat8E4M3FN, "qfloat8_e4m3fn", true, 8, DType::kFloat8E4M3FN,
     -448, 448},
    {QTypeId::kQFloat8E5M2, "qfloat8_e5m2", true, 8, DType::kFloat8E5M2, -57344,
     57344},
    {QTypeId::kQFloat8E4M3FNUZ, "qfloat8_e4m3fnuz", true, 8,
     DType::kFloat8E4M3FNUZ, -240, 240},
}};

constexpr const QType& qtype(QTypeId id) {
  return kQTypes[static_cast<size_t>(id)];
}

/// The type of that name (`qfloat8` is an alias of `qfloat8_e4m3fn`), or
/// nullptr.
constexpr const QType* find_qtype(std::string_view name) {
  if (name == "qfloat8") name = "qfloat8_e4m3fn";
  for (const QType& type : kQTypes) {
    if (type.name == name) return &type;
  }
  return nullptr;
}

/// The 8-bit type whose data has element type `storage`, or nullptr.
constexpr const QType* find_8bit_qtype(DType storage) {
  for (const QType& type : kQTypes) {
    if (type.bits == 8 && type.storage == storage) return &type;
  }
  return nullptr;
}

}  // namespace quanto
