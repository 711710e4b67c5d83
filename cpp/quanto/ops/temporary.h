// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <new>

namespace quanto::ops {

/// Memory of one operator call, 64-byte aligned and uninitialised. An
/// executor's workspace and scratch belong to the kernels that are called.
class Temporary {
 public:
  Temporary() = default;
  explicit Temporary(size_t bytes)
      : data_(static_cast<std::byte*>(::operator new(bytes, kAlignment))) {}
  Temporary(const Temporary&) = delete;
  Temporary& operator=(const Temporary&) = delete;
  Temporary(Temporary&& other) noexcept : data_(other.data_) {
    other.data_ = nullptr;
  }
  Temporary& operator=(Temporary&& other) noexcept {
    std::byte* mine = data_;
    data_ = other.data_;
    other.data_ = mine;
    return *this;
  }
  ~Temporary() { ::operator delete(data_, kAlignment); }

  [[nodiscard]] std::byte* data() const { return data_; }

 private:
  static constexpr std::align_val_t kAlignment{64};

  std::byte* data_ = nullptr;
};

}  // namespace quanto::ops
