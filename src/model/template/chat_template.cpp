#include "apr/model/chat_template.h"

#include "interpreter.h"
#include "parser.h"

namespace apr::model {

ChatTemplate ChatTemplate::parse(std::string_view source, std::string_view name) {
  ChatTemplate made;
  made.program_ = jinja::parse_program(source, name);
  return made;
}

std::string ChatTemplate::render(const TemplateContext& context, const TemplateLimits& limits) const {
  return jinja::Interpreter(*program_, context, limits).run();
}

}  // namespace apr::model
