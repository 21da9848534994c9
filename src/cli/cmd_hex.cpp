#include <memory>

#include "apr/core/file.h"

#include "src/cli/commands.h"
#include "src/cli/options.h"

namespace apr::cli {
namespace {

struct HexOptions {
  std::string path;
};

int run_hex(const HexOptions& options, Context& context) {
  context.file = FileFacts{options.path, {}, {}};
  const MappedFile file(options.path);
  context.file->size_bytes = file.size();
  return 0;
}

}  // namespace

Run setup_hex(CLI::App& command) {
  auto options = std::make_shared<HexOptions>();
  command.add_option("FILE", options->path, "A model file")->required();
  command.footer("  apr hex model.gguf");
  return [options](Context& context) { return run_hex(*options, context); };
}

}  // namespace apr::cli
