// SPDX-License-Identifier: Apache-2.0
#include "quanto/kernels/cpu/dispatch.h"

#ifdef __aarch64__
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#include <cstdlib>
#include <deque>
#include <initializer_list>
#include <string>
#include <vector>

#include "quanto/core/error.h"
#include "quanto/kernels/cpu/amx.h"
#include "quanto/kernels/cpu/avx512.h"
#include "quanto/kernels/cpu/tables.h"
#include "quanto/kernels/ref/ref.h"

namespace quanto::kernels {
namespace {

#if defined(__x86_64__)
ElementwiseTable elementwise_avx2() {
  return {reduce_avx2(), quantize_avx2(), dequantize_avx2(),
          pack_avx2(),   conv_avx2(),     nullptr};
}
ElementwiseTable elementwise_avx512() {
  return {reduce_avx512(), quantize_avx512(), dequantize_avx512(),
          pack_avx512(),   conv_avx512(),     nullptr};
}
ElementwiseTable elementwise_amx() {
  ElementwiseTable table = elementwise_avx512();
  table.conv_tiles = conv_amx_bf16();
  return table;
}
#elif defined(__aarch64__)
ElementwiseTable elementwise_neon() {
  return {reduce_neon(), quantize_neon(), dequantize_neon(),
          pack_neon(),   conv_neon(),     nullptr};
}
#endif

/// The tables this CPU can run. A vector table ends with ref's way to run a
/// linear problem, so that every problem finds one.
class Registry {
 public:
  Registry() {
#if defined(__x86_64__)
    if (has_avx2() && has_avx512_bf16() && may_use_amx_bf16()) {
      add("amx_bf16", elementwise_amx(),
          {linear_amx_bf16(has_amx_int8()), linear_avx512_bf16()});
    }
    if (has_avx2() && has_avx512_bf16()) {
      add("avx512_bf16", elementwise_avx512(), {linear_avx512_bf16()});
    }
    if (has_avx2() && has_avx512()) {
      add("avx512", elementwise_avx512(), {linear_avx512()});
    }
    if (has_avx_vnni()) {
      add("avx_vnni", elementwise_avx2(), {linear_avx_vnni()});
    }
    if (has_avx2()) add("avx2", elementwise_avx2(), {linear_avx2()});
#elif defined(__aarch64__)
    if (has_neon_dotprod() && has_neon_i8mm()) {
      add("neon_i8mm", elementwise_neon(),
          {linear_neon_i8mm(), linear_neon_dotprod()});
    }
    if (has_neon_dotprod()) {
      add("neon_dotprod", elementwise_neon(), {linear_neon_dotprod()});
    }
    add("neon", elementwise_neon(), {linear_neon()});
#endif
    available_.push_back(&ref_kernels());
  }

  [[nodiscard]] std::span<const KernelTable* const> available() const {
    return available_;
  }

  [[nodiscard]] const KernelTable* find(std::string_view isa) const {
    for (const KernelTable* table : available_) {
      if (table->isa == isa) return table;
    }
    return nullptr;
  }

  [[nodiscard]] std::string names() const {
    std::string names;
    for (const KernelTable* table : available_) {
      if (!names.empty()) names += ", ";
      names += table->isa;
    }
    return names;
  }

 private:
#if defined(__x86_64__)
  // These builtins also ask whether the system saves the wide registers.
  static bool has_avx2() {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __builtin_cpu_supports("f16c");
  }

  static bool has_avx_vnni() {
    return has_avx2() && __builtin_cpu_supports("avxvnni");
  }
#elif defined(__aarch64__)
  static bool has_neon_dotprod() {
    return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
  }

  static bool has_neon_i8mm() {
    return (getauxval(AT_HWCAP2) & HWCAP2_I8MM) != 0;
  }
#endif

  void add(std::string_view isa, const ElementwiseTable& elementwise,
           std::initializer_list<LinearTable> linear) {
    const KernelTable& ref = ref_kernels();
    auto& variants = variants_.emplace_back();
    for (const LinearTable& part : linear) {
      variants.insert(variants.end(), part.variants,
                      part.variants + part.count);
    }
    variants.insert(variants.end(), ref.linear, ref.linear + ref.linear_count);
    available_.push_back(&tables_.emplace_back(KernelTable{
        .isa = isa,
        .absmax = elementwise.reduce.absmax,
        .min_max = elementwise.reduce.min_max,
        .quantize_symmetric = elementwise.quantize.symmetric,
        .quantize_rows = elementwise.quantize.rows,
        .dequantize_symmetric = elementwise.dequantize.symmetric,
        .quantize_affine = elementwise.quantize.affine,
        .dequantize_affine = elementwise.dequantize.affine,
        .pack = elementwise.pack.pack,
        .unpack = elementwise.pack.unpack,
        .conv = elementwise.conv,
        .conv_tiles = elementwise.conv_tiles,
        .linear = variants.data(),
        .linear_count = static_cast<int64_t>(variants.size()),
    }));
  }

  // Deques keep the addresses of their elements.
  std::deque<std::vector<LinearVariant>> variants_;
  std::deque<KernelTable> tables_;
  std::vector<const KernelTable*> available_;
};

const Registry& registry() {
  static const Registry registry;
  return registry;
}

std::string forced_isa() {
  const char* isa = std::getenv("QUANTO_FORCE_ISA");
  return isa != nullptr ? isa : "";
}

}  // namespace

std::span<const KernelTable* const> available_kernels() {
  return registry().available();
}

const KernelTable& kernels_for(std::string_view isa) {
  const KernelTable* table = registry().find(isa);
  check_value(table != nullptr,
              "QUANTO_FORCE_ISA: expected one of {} on this CPU, got {}",
              registry().names(), isa);
  return *table;
}

const KernelTable& kernels() {
  static const std::string forced = forced_isa();
  static const KernelTable* const table =
      forced.empty() ? available_kernels().front() : registry().find(forced);
  return table != nullptr ? *table : kernels_for(forced);
}

}  // namespace quanto::kernels
