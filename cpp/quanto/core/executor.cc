// SPDX-License-Identifier: Apache-2.0
#include "quanto/core/executor.h"

#include <algorithm>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <new>
#include <thread>
#include <vector>

#include "quanto/core/error.h"
#include "quanto/core/range_queue.h"

namespace quanto {
namespace {

constexpr std::align_val_t kAlignment{64};

/// Memory of one thread that is kept from call to call and only grows.
class Buffer {
 public:
  Buffer() = default;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { ::operator delete(data_, kAlignment); }

  std::byte* at_least(size_t bytes) {
    if (bytes > size_ || data_ == nullptr) grow(std::max<size_t>(bytes, 64));
    return data_;
  }

 private:
  void grow(size_t bytes) {
    ::operator delete(data_, kAlignment);
    data_ = nullptr;
    size_ = 0;
    data_ = static_cast<std::byte*>(::operator new(bytes, kAlignment));
    size_ = bytes;
  }

  std::byte* data_ = nullptr;
  size_t size_ = 0;
};

thread_local Buffer workspace_buffer;
thread_local Buffer scratch_buffer;

}  // namespace

std::byte* Executor::workspace(size_t bytes) {
  return workspace_buffer.at_least(bytes);
}

std::byte* Executor::scratch(size_t bytes) {
  return scratch_buffer.at_least(bytes);
}

int SerialExecutor::threads() const { return 1; }

void SerialExecutor::parallel_for(int64_t count, int64_t /*grain*/, Body body) {
  if (count > 0) body(0, count);
}

/// One job at a time: `ranges` hands out its parts, and a job is over when all
/// are taken and no worker is inside one.
struct ThreadPool::State {
  std::mutex one_caller;
  std::mutex mutex;
  std::condition_variable wake;
  std::condition_variable idle;
  std::vector<std::thread> workers;
  uint64_t job = 0;
  int active = 0;
  bool stopping = false;
  const Body* body = nullptr;
  RangeQueue* ranges = nullptr;

  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() {
    {
      const std::scoped_lock lock(mutex);
      stopping = true;
    }
    wake.notify_all();
    for (std::thread& worker : workers) worker.join();
  }

  void work() {
    uint64_t seen = 0;
    std::unique_lock lock(mutex);
    for (;;) {
      wake.wait(lock, [&] { return stopping || job != seen; });
      if (stopping) return;
      seen = job;
      // A worker that woke late finds nothing to do.
      if (ranges == nullptr) continue;
      ++active;
      const Body job_body = *body;
      RangeQueue& job_ranges = *ranges;
      lock.unlock();
      drain(job_ranges, job_body);
      lock.lock();
      if (--active == 0) idle.notify_one();
    }
  }

  void run(RangeQueue& job_ranges, const Body& job_body) {
    const std::scoped_lock only(one_caller);
    {
      const std::scoped_lock lock(mutex);
      body = &job_body;
      ranges = &job_ranges;
      ++job;
    }
    wake.notify_all();
    drain(job_ranges, job_body);
    std::unique_lock lock(mutex);
    ranges = nullptr;
    idle.wait(lock, [&] { return active == 0; });
  }
};

ThreadPool::ThreadPool(int threads) : state_(std::make_unique<State>()) {
  check_value(threads >= 1, "ThreadPool: expected at least 1 thread, got {}",
              threads);
  for (int i = 1; i < threads; ++i) {
    state_->workers.emplace_back([state = state_.get()] { state->work(); });
  }
}

ThreadPool::~ThreadPool() = default;

int ThreadPool::threads() const {
  return static_cast<int>(state_->workers.size()) + 1;
}

void ThreadPool::parallel_for(int64_t count, int64_t grain, Body body) {
  if (count <= 0) return;
  RangeQueue ranges(count, grain, threads());
  if (threads() == 1 || ranges.is_single()) {
    body(0, count);
  } else {
    state_->run(ranges, body);
  }
}

}  // namespace quanto
