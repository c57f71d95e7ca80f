/**
 * What a chat tells its template beside the messages: whether to think, how hard, and what else the template
 * asks for.
 * @module
 */
import { RequestError } from "./errors.ts";
import type { ChatPlan } from "./generate_options.ts";
import type { ChatTemplate } from "./text/chat_template.ts";

/** @throws {RequestError} for a wish that the template has no word for */
export function templateVariables(
  template: ChatTemplate,
  { thinking, effort, variables }: ChatPlan,
): ChatPlan["variables"] {
  const names = Object.keys(variables), known = template.variablesAmong(names);
  const unknown = names.find((name) => !known.includes(name));
  if (unknown !== undefined) {
    const problem = `the model's chat template has no variable ${JSON.stringify(unknown.slice(0, 100))}`;
    throw new RequestError(`Cannot use chat_template_kwargs: ${problem}`, { param: "chat_template_kwargs" });
  }
  const switches = thinking === null ? [] : template.thinkingSwitches();
  // Where there is no choice the wish may still hold: R1 always thinks, and V3 never does.
  const hasChoice = switches.length > 0 || template.variablesAmong(["reasoning_effort"]).length > 0;
  if (thinking !== null && !hasChoice && thinking !== template.thinks) {
    const problem = "the model's chat template does not know how";
    throw new RequestError(`Cannot turn thinking on or off: ${problem}`, { param: "reasoning_effort" });
  }
  const degrees = effort === null ? [] : template.variablesAmong(["reasoning_effort"]);
  return {
    ...Object.fromEntries(switches.map((name) => [name, thinking])),
    ...Object.fromEntries(degrees.map((name) => [name, effort])),
    ...variables,
  };
}
