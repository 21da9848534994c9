// How the tensors and metadata of a GGUF are called inside an APR file.
#pragma once
#include <string>
#include <vector>

#include "apr/format/apr_names.h"
#include "apr/format/model_file.h"
#include "apr/format/writer.h"

namespace apr::convert {

using format::apr_name_of;
using format::apr_renames;
using format::layout_contract;
using format::LayoutRow;

/// The metadata of a GGUF as APR has them: hyperparameters and tokenizer under APR's canonical keys, every other entry
/// under its own. Entries that only lay out a GGUF file (general.alignment, split.*) are left out and added to
/// `dropped`.
[[nodiscard]] std::vector<format::WriteEntry> apr_metadata_of(const format::ModelFile& gguf,
                                                              std::vector<std::string>& dropped);

}  // namespace apr::convert
