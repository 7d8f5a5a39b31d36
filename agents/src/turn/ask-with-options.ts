// Applies the options of a turn to every model call of runners that make their requests themselves: teams and the refining dialogue.
import type { AskModel } from '../model/ask-model.ts';
import type { OptionBounds } from './option-bounds.ts';
import type { TurnOptions } from './turn-options.ts';

/** The options that `askWithOptions` applies. */
export const REQUEST_OPTIONS: OptionBounds = Object.freeze({
  takes: ['temperature', 'max_tokens'],
} satisfies OptionBounds);

/** Makes an `AskModel` whose requests have the temperature of the turn, and at most its tokens. */
export function askWithOptions(ask: AskModel, { temperature, max_tokens }: TurnOptions): AskModel {
  if (temperature === undefined && max_tokens === undefined) return ask;
  return (model, request, options) => {
    const limits = [max_tokens, request.max_tokens].filter((limit) => limit !== undefined);
    const limited = limits.length > 0 ? { max_tokens: Math.min(...limits) } : {};
    const changed = { ...request, ...limited, temperature: temperature ?? request.temperature };
    return ask(model, changed, options);
  };
}
