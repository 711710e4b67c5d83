// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "quanto/kernels/cpu/amx.h"
#include "quanto/kernels/cpu/avx512.h"
#include "quanto/kernels/cpu/emulated/intrinsic_cases.h"

namespace quanto::kernels {
namespace {

constexpr uint32_t kRounds = 3000;
constexpr size_t kEdge = 4;

struct Result {
  std::string what;
  std::vector<uint8_t> bytes;
  Agreement agreement;
};

class Results {
 public:
  [[nodiscard]] CaseSink sink() {
    return {this, [](void* self, const char* what, const void* bytes,
                     size_t size, Agreement agreement) {
              const auto* first = static_cast<const uint8_t*>(bytes);
              static_cast<Results*>(self)->all_.push_back(
                  {what, {first, first + size}, agreement});
            }};
  }
  [[nodiscard]] const std::vector<Result>& all() const { return all_; }

 private:
  std::vector<Result> all_;
};

bool agree(const Result& real, const Result& emulated) {
  if (real.bytes == emulated.bytes) return true;
  if (real.agreement == Agreement::kBits) return false;
  for (size_t i = 0; i + sizeof(float) <= real.bytes.size();
       i += sizeof(float)) {
    float a = 0, b = 0;
    std::memcpy(&a, &real.bytes[i], sizeof(a));
    std::memcpy(&b, &emulated.bytes[i], sizeof(b));
    if (std::memcmp(&a, &b, sizeof(a)) == 0) continue;
    if (!std::isnan(a) || !std::isnan(b)) return false;
  }
  return true;
}

std::string hex(const std::vector<uint8_t>& bytes) {
  std::string text;
  for (size_t i = 0; i < bytes.size(); ++i) {
    char digits[4];
    std::snprintf(digits, sizeof(digits), "%02x", bytes[i ^ 3]);
    text += i % 4 == 0 ? std::string(" ") + digits : digits;
  }
  return text;
}

void expect_agreement(const Results& real, const Results& emulated) {
  ASSERT_EQ(real.all().size(), emulated.all().size());
  for (size_t i = 0; i < real.all().size(); ++i) {
    const Result& r = real.all()[i];
    const Result& e = emulated.all()[i];
    ASSERT_EQ(r.what, e.what);
    ASSERT_TRUE(agree(r, e)) << r.what << "\nreal     " << hex(r.bytes)
                             << "\nemulated " << hex(e.bytes);
  }
}

/// Numbers of the kinds that instructions treat apart, as 32 bits.
class Words {
 public:
  static constexpr uint32_t kKinds = 7;

  Words(uint32_t seed, uint32_t kind) : engine_(seed), kind_(kind % kKinds) {}

  void fill(void* to, size_t bytes) {
    for (size_t i = 0; i < bytes; i += sizeof(uint32_t)) {
      const uint32_t word = next();
      std::memcpy(static_cast<uint8_t*>(to) + i, &word, sizeof(word));
    }
  }
  uint32_t below(uint32_t end) { return engine_() % end; }
  uint64_t mask() { return uint64_t{engine_()} << 32 | engine_(); }

 private:
  uint32_t next() {
    const uint32_t bits = engine_();
    switch (kind_) {
      case 0:
        return bits;
      case 1:  // Few values, so that some are equal.
        return bits & 0x01010101;
      case 2:
        return kBytes[below(4)] * 0x1000000U | kBytes[below(4)] * 0x10000U |
               kBytes[below(4)] * 0x100U | kBytes[below(4)];
      case 3:  // Every class of fp32.
        return below(2) == 0 ? kFloats[below(std::size(kFloats))] : bits;
      case 4:  // Two bfloat16 whose products are about 2^-126.
        return (bits & 0x80ff80ff) | exponent() << 16 | exponent();
      case 5:  // Sums that are nearly subnormal.
        return (bits & 0x807fffff) | (1 + below(4)) << 23;
      default:  // 2^-126, and bfloat16 whose products are half its last bit.
        return kTies[below(std::size(kTies))];
    }
  }
  /// A bfloat16's exponent around -63.
  uint32_t exponent() { return (30 + below(4)) << 8; }

  static constexpr uint32_t kTies[] = {0x00001a00, 0x00009a00, 0x00001a01,
                                       0x00009980, 0x00800000, 0x80800000};
  static constexpr uint32_t kBytes[] = {0, 127, 128, 255};
  static constexpr uint32_t kFloats[] = {
      0x00000000, 0x80000000, 0x00000001, 0x807fffff, 0x00800000, 0x80800000,
      0x3f800000, 0xbf800000, 0x3f000000, 0x3fc00000, 0x40200000, 0x477fefff,
      0x477ff000, 0x33000000, 0x33000001, 0x387fc000, 0x4f000000, 0xcf000000,
      0x7f7fffff, 0xff7fffff, 0x7f800000, 0xff800000, 0x7fc00000, 0xffc12345,
      0x7f800001, 0xff812345, 0x3f808000, 0x3f818000, 0x7f7f8000, 0x00008000};

  std::mt19937 engine_;
  uint32_t kind_;
};

/// kEdge bytes before a page that may not be touched.
class Edge {
 public:
  Edge()
      : page_(static_cast<size_t>(sysconf(_SC_PAGESIZE))),
        pages_(static_cast<uint8_t*>(
            mmap(nullptr, 2 * page_, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))) {
    mprotect(pages_ + page_, page_, PROT_NONE);
  }
  Edge(const Edge&) = delete;
  Edge& operator=(const Edge&) = delete;
  ~Edge() { munmap(pages_, 2 * page_); }

  [[nodiscard]] uint8_t* bytes() const { return pages_ + page_ - kEdge; }

 private:
  size_t page_;
  uint8_t* pages_;
};

using VectorCases = void (*)(const CaseInputs& in, const CaseSink& sink);

void expect_same_vectors(VectorCases real, VectorCases emulated) {
  const Edge edge;
  for (uint32_t seed = 0; seed < kRounds; ++seed) {
    Words a(seed, seed);
    Words b(seed + kRounds, seed / Words::kKinds);
    Words c(seed + 2 * kRounds, seed / (Words::kKinds * Words::kKinds));
    CaseInputs in = {};
    a.fill(in.a, sizeof(in.a));
    b.fill(in.b, sizeof(in.b));
    c.fill(in.c, sizeof(in.c));
    in.mask = a.mask();
    in.edge = edge.bytes();
    const auto run = [&](VectorCases cases) {
      Results results;
      std::memcpy(in.edge, in.b, kEdge);
      const CaseSink sink = results.sink();
      cases(in, sink);
      sink.record(sink.self, "stores at the edge", in.edge, kEdge,
                  Agreement::kBits);
      return results;
    };
    expect_agreement(run(real), run(emulated));
    if (testing::Test::HasFatalFailure()) return;
  }
}

TEST(EmulatedIntrinsicsTest, VectorsAreAsOnTheCpu) {
  if (!has_avx512()) GTEST_SKIP() << "this CPU has no AVX-512 VNNI";
  expect_same_vectors(real_intrinsic_cases().avx512,
                      emulated_intrinsic_cases().avx512);
}

TEST(EmulatedIntrinsicsTest, PairsOfBfloat16AreAsOnTheCpu) {
  if (!has_avx512_bf16()) GTEST_SKIP() << "this CPU has no AVX512_BF16";
  expect_same_vectors(real_intrinsic_cases().bf16,
                      emulated_intrinsic_cases().bf16);
}

TEST(EmulatedIntrinsicsTest, TilesAreAsOnTheCpu) {
  if (!may_use_amx_bf16() || !has_amx_int8()) {
    GTEST_SKIP() << "this CPU has no AMX_BF16 and AMX_INT8";
  }
  for (uint32_t seed = 0; seed < kRounds; ++seed) {
    Words a(seed, seed);
    Words b(seed + kRounds, seed / Words::kKinds);
    Words c(seed + 2 * kRounds, seed / (Words::kKinds * Words::kKinds));
    TileInputs in = {};
    a.fill(in.a, sizeof(in.a));
    b.fill(in.b, sizeof(in.b));
    c.fill(in.sums, sizeof(in.sums));
    in.rows = static_cast<int>(1 + a.below(16));
    in.columns = static_cast<int>(1 + a.below(16));
    in.words = static_cast<int>(1 + a.below(16));
    Results real;
    Results emulated;
    real_intrinsic_cases().tiles(in, real.sink());
    emulated_intrinsic_cases().tiles(in, emulated.sink());
    ASSERT_NO_FATAL_FAILURE(expect_agreement(real, emulated)) << seed;
  }
}

}  // namespace
}  // namespace quanto::kernels
