// The options of a turn that an agent takes. A runner declares them; the host checks a turn before it accepts it.
import { FabricError } from '@fame-fabric/shared';
import type { TurnOptions } from './turn-options.ts';

export interface OptionBounds {
  /** The options that the runner uses. Others are refused. */
  readonly takes: readonly (keyof TurnOptions)[];
  /** Values of `model`. */
  readonly models?: readonly string[] | undefined;
  /** Names of the agent's own tools, which tools of callers must not have. */
  readonly ownTools?: readonly string[] | undefined;
}

/** The bounds of a runner that declares none. */
export const NO_OPTIONS: OptionBounds = Object.freeze({ takes: [] });

/** Checks options against the bounds of an agent. @throws {PARAMS_INVALID} naming the option and its bound */
export function checkOptions(options: TurnOptions, bounds: OptionBounds): void {
  const { takes, ownTools = [] } = bounds;
  const given = (Object.keys(options) as (keyof TurnOptions)[]).filter((key) => options[key] !== undefined);
  const refused = given.find((key) => !takes.includes(key));
  if (refused) {
    const others = takes.length > 0 ? takes.join(', ') : 'no options';
    throw invalid(refused, `This agent does not take it. It takes ${others}.`);
  }
  const { model, tools = [], tool_choice: choice } = options;
  if (model !== undefined) checkModel(model, bounds, 'options.model');
  const names = tools.map((tool) => tool.function.name);
  const taken = names.find((name) => ownTools.includes(name));
  if (taken) throw invalid('tools', `The agent has a tool "${taken}" itself. Rename yours.`);
  if (choice === undefined || choice === 'auto' || choice === 'none') return;
  const all = [...ownTools, ...names];
  if (all.length === 0) throw invalid('tool_choice', 'There are no tools.');
  if (choice !== 'required' && !all.includes(choice.function.name)) {
    throw invalid('tool_choice', `There is no tool "${choice.function.name}".`);
  }
}

/** Checks the name of a model. @throws {PARAMS_INVALID} naming the parameter and the bound */
export function checkModel(model: string, { takes, models = [] }: OptionBounds, parameter: string): void {
  if (takes.includes('model') && models.includes(model)) return;
  const offer = takes.includes('model') ? ` Choose one of: ${models.join(', ')}.` : '';
  throw new FabricError('PARAMS_INVALID', `${parameter}: This agent does not offer "${model}".${offer}`, {
    details: { option: 'model' },
  });
}

const invalid = (option: keyof TurnOptions, fault: string): FabricError =>
  new FabricError('PARAMS_INVALID', `options.${option}: ${fault}`, { details: { option } });
