// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "quanto/core/function_ref.h"

namespace quanto {

/// Where kernels get their threads and their memory: torch's pool inside the
/// operators, a pool of its own in the command line, one thread in tests.
/// Results of a kernel never depend on the number of threads.
class Executor {
 public:
  using Body = FunctionRef<void(int64_t begin, int64_t end)>;

  virtual ~Executor() = default;

  /// How many threads parallel_for may use, at least 1.
  [[nodiscard]] virtual int threads() const = 0;

  /// Calls `body` on disjoint ranges that together are [0, count), each at
  /// least `grain` long except the last, and returns when all are done. A body
  /// does not call parallel_for.
  virtual void parallel_for(int64_t count, int64_t grain, Body body) = 0;

  /// Memory for one kernel call, taken by the calling thread before
  /// parallel_for and shared by its bodies. 64-byte aligned, uninitialised,
  /// valid until the thread's next workspace().
  [[nodiscard]] std::byte* workspace(size_t bytes);

  /// The same for one body: private to its thread, valid until that thread's
  /// next scratch(). It does not overlap the workspace.
  [[nodiscard]] std::byte* scratch(size_t bytes);
};

/// Runs everything on the calling thread.
class SerialExecutor final : public Executor {
 public:
  [[nodiscard]] int threads() const override;
  void parallel_for(int64_t count, int64_t grain, Body body) override;
};

/// A pool of `threads` threads, the caller included.
class ThreadPool final : public Executor {
 public:
  explicit ThreadPool(int threads);
  ~ThreadPool() override;
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;
  [[nodiscard]] int threads() const override;
  void parallel_for(int64_t count, int64_t grain, Body body) override;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace quanto
