// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

/// The sizes of a Llama model, by the names of its config.json.
struct Config {
  int64_t vocab_size;
  int64_t hidden_size;
  int64_t intermediate_size;
  int64_t num_hidden_layers;
  int64_t num_attention_heads;
  int64_t num_key_value_heads;
  int64_t head_dim;
  double rms_norm_eps;
  double rope_theta;
  bool attention_bias;
  bool mlp_bias;
  bool tie_word_embeddings;
  std::vector<int64_t> eos_token_id;
};

/// Reads FOLDER/config.json. Throws std::runtime_error for a file that is
/// missing or not such JSON, and for models that are computed otherwise.
Config read_config(const std::string& folder);
