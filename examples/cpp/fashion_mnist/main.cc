// SPDX-License-Identifier: Apache-2.0
// Trains a classifier of Fashion-MNIST, quantizes its weights and activations
// to int8, saves it to one file and loads that again:
//
//   fashion_mnist [--data FOLDER] [--epochs N] [--samples N] [--output FILE]
//   fashion_mnist --load FILE       only loads and evaluates

#include <quanto/nn/calibration.h>
#include <quanto/nn/quantize.h>
#include <quanto/nn/serialize.h>
#include <torch/utils.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>

#include "data.h"
#include "net.h"

namespace {

struct Options {
  std::string data = "/usr/share/datasets/fashion-mnist";
  std::string output = "fashion_mnist.safetensors";
  std::string load, logits;
  int64_t epochs = 2;
  uint64_t seed = 0;
  size_t samples = 60000;
};

constexpr int64_t kCalibrationImages = 1000;

void show(const char* step, double accuracy, int64_t bytes) {
  std::printf("%-36s %9.2f %% %10lld bytes\n", step, 100 * accuracy,
              static_cast<long long>(bytes));
  std::fflush(stdout);
}

/// Bytes of parameters and buffers.
int64_t size_of(const Net& net) {
  int64_t bytes = 0;
  for (const torch::Tensor& tensor : net->parameters()) {
    bytes += static_cast<int64_t>(tensor.nbytes());
  }
  for (const torch::Tensor& tensor : net->buffers()) {
    bytes += static_cast<int64_t>(tensor.nbytes());
  }
  return bytes;
}

/// Trains a model, quantizes it and writes it to `options.output`.
Net make(const Options& options, const Split& test) {
  const Split training =
      as_tensors(read_images(options.data, "train", options.samples));
  Net net;
  train(net, training, options.epochs);
  show("float32", accuracy(net, test), size_of(net));

  quanto::QuantizeOptions types;
  types.weights = "int8";
  types.activations = "int8";
  quanto::quantize(*net, types);
  {
    const quanto::Calibration calibration;
    logits(net, training.images.slice(0, 0, kCalibrationImages));
  }
  show("int8 weights and activations", accuracy(net, test), size_of(net));

  quanto::freeze(*net);
  show("frozen", accuracy(net, test), size_of(net));
  quanto::save(*net, options.output);
  return net;
}

/// The model of a file. Its weights are mapped, not copied.
Net reload(const std::string& path, const Split& test) {
  Net net;
  quanto::requantize(*net, path);
  net->eval();
  show("reloaded; bytes of the file", accuracy(net, test),
       static_cast<int64_t>(std::filesystem::file_size(path)));
  return net;
}

/// As plain float32, row by row.
void write(const torch::Tensor& values, const std::string& path) {
  const torch::Tensor rows = values.contiguous();
  std::ofstream file(path, std::ios::binary);
  file.write(static_cast<const char*>(rows.const_data_ptr()),
             static_cast<std::streamsize>(rows.nbytes()));
  if (!file.flush()) throw std::runtime_error(path + ": expected to write it");
}

void run(const Options& options) {
  torch::manual_seed(options.seed);
  const Split test =
      as_tensors(read_images(options.data, "t10k", options.samples));
  const bool load_only = !options.load.empty();
  const std::string path = load_only ? options.load : options.output;
  Net saved{nullptr};
  if (!load_only) saved = make(options, test);
  Net net = reload(path, test);
  const torch::Tensor outputs = logits(net, test.images);
  if (!load_only && !torch::equal(outputs, logits(saved, test.images))) {
    throw std::runtime_error(
        "fashion_mnist: expected the saved model's logits, got others");
  }
  if (!options.logits.empty()) write(outputs, options.logits);
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("Quantizes a classifier of Fashion-MNIST to int8");
  app.add_option("--data", options.data,
                 "Folder of Debian's dataset-fashion-mnist");
  app.add_option("--epochs", options.epochs, "Of training in float");
  app.add_option("--samples", options.samples,
                 "Images of each split to use at most");
  app.add_option("--seed", options.seed, "Of weights and batches");
  app.add_option("--output", options.output, "File to save to");
  app.add_option("--load", options.load, "File to evaluate; trains nothing");
  app.add_option("--logits", options.logits,
                 "File for the reloaded model's logits, plain float32");
  CLI11_PARSE(app, argc, argv);
  try {
    run(options);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
