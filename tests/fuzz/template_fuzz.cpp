// Chat templates: parsed, and rendered within small limits.
#include "apr/model/chat_template.h"
#include "tests/fuzz/fuzz_support.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace apr::model;
  try {
    const auto parsed = ChatTemplate::parse({reinterpret_cast<const char*>(data), size});
    TemplateContext context;
    context.messages = {{"system", "Be brief."}, {"user", "1 < 2 & \"three\"\n"}, {"assistant", "\xC3\xA9"}};
    context.bos_token = "<s>";
    context.eos_token = "</s>";
    context.extra = {{"enable_thinking", false}, {"n", std::int64_t{3}}, {"x", 0.5}, {"tools", std::monostate{}}};
    context.local_time = 1'700'000'000;
    const TemplateLimits limits{.steps = 20'000, .output_bytes = 1 << 16, .memory_bytes = 1 << 22, .depth = 200};
    if (parsed.render(context, limits).size() > limits.output_bytes) apr::fuzz::broken("the output is bounded");
  } catch (const apr::Error& error) {
    if (error.code != apr::ErrorCode::InvalidFormat && error.code != apr::ErrorCode::Inference)
      apr::fuzz::broken(std::string("a template is refused as such: ") + error.what());
    if (error.field.empty() || error.message.empty()) apr::fuzz::broken("a refusal names its place");
  }
  return 0;
}
