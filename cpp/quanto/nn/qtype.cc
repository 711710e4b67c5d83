// SPDX-License-Identifier: Apache-2.0
#include "quanto/nn/qtype.h"

#include <string>

#include "quanto/nn/check.h"

namespace quanto::nn {

namespace {

std::string type_names() {
  std::string names;
  for (const QType& type : kQTypes) {
    names += (names.empty() ? "" : ", ") + std::string(type.name);
  }
  return names;
}

}  // namespace

const QType& as_qtype(std::string_view name) {
  const QType* type = find_qtype("q" + std::string(name));
  if (type == nullptr) type = find_qtype(name);
  if (type == nullptr) {
    check(false, "qtype: expected one of ", type_names(), ", got '", name, "'");
  }
  return *type;
}

c10::ScalarType data_type(const QType& type) {
  switch (type.storage) {
    case DType::kInt8:
      return c10::ScalarType::Char;
    case DType::kFloat8E4M3FN:
      return c10::ScalarType::Float8_e4m3fn;
    case DType::kFloat8E5M2:
      return c10::ScalarType::Float8_e5m2;
    case DType::kFloat8E4M3FNUZ:
      return c10::ScalarType::Float8_e4m3fnuz;
    default:
      return c10::ScalarType::Byte;
  }
}

}  // namespace quanto::nn
