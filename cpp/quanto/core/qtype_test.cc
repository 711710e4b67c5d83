// SPDX-License-Identifier: Apache-2.0
#include "quanto/core/qtype.h"

#include <gtest/gtest.h>

#include "quanto/core/float_convert.h"

namespace quanto {
namespace {

TEST(QTypeTest, TableIsIndexedById) {
  for (size_t i = 0; i < kQTypes.size(); ++i) {
    EXPECT_EQ(static_cast<size_t>(kQTypes[i].id), i);
    EXPECT_EQ(&qtype(kQTypes[i].id), &kQTypes[i]);
  }
}

TEST(QTypeTest, NamesFindTheirType) {
  for (const QType& type : kQTypes) EXPECT_EQ(find_qtype(type.name), &type);
  EXPECT_EQ(find_qtype("qfloat8"), &qtype(QTypeId::kQFloat8E4M3FN));
  EXPECT_EQ(find_qtype("qint3"), nullptr);
  EXPECT_EQ(find_qtype(""), nullptr);
}

TEST(QTypeTest, StorageFindsThe8BitType) {
  for (const QType& type : kQTypes) {
    if (type.bits == 8) {
      EXPECT_EQ(find_8bit_qtype(type.storage), &type);
    }
  }
  EXPECT_EQ(find_8bit_qtype(DType::kUInt8), nullptr);
  EXPECT_EQ(find_8bit_qtype(DType::kFloat32), nullptr);
}

TEST(QTypeTest, IntegerTypesHaveTwosComplementRange) {
  for (const QType& type : kQTypes) {
    if (type.is_floating_point) continue;
    EXPECT_EQ(type.qmin, -static_cast<float>(1 << (type.bits - 1)));
    EXPECT_EQ(type.qmax, static_cast<float>((1 << (type.bits - 1)) - 1));
  }
}

TEST(QTypeTest, FloatTypesEndAtTheirLargestFiniteValue) {
  EXPECT_EQ(qtype(QTypeId::kQFloat8E4M3FN).qmax, float_from_e4m3fn(0x7e));
  EXPECT_EQ(qtype(QTypeId::kQFloat8E5M2).qmax, float_from_e5m2(0x7b));
  EXPECT_EQ(qtype(QTypeId::kQFloat8E4M3FNUZ).qmax, float_from_e4m3fnuz(0x7f));
  for (const QType& type : kQTypes) {
    if (type.is_floating_point) {
      EXPECT_EQ(type.qmin, -type.qmax);
    }
  }
}

TEST(QTypeTest, StorageIsOneByte) {
  for (const QType& type : kQTypes) EXPECT_EQ(size_of(type.storage), 1);
}

}  // namespace
}  // namespace quanto
