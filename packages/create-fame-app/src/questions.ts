// The three questions at a terminal.
import { cancel, isCancel, select, text } from '@clack/prompts';
import { MODELS, type Options, TEMPLATES } from './options.ts';
import { folderFault, type ProjectOptions } from './project.ts';

export const DEFAULTS = { folder: 'fame-app', template: 'chat', model: 'offline' } as const;

/** Asks for the values that the command line lacks. Returns `undefined` if the user cancels. */
export async function ask(options: Options): Promise<ProjectOptions | undefined> {
  const folder =
    options.folder ??
    (await text({
      message: 'Name of the project',
      placeholder: DEFAULTS.folder,
      defaultValue: DEFAULTS.folder,
      validate: (value) => folderFault(value?.trim() || DEFAULTS.folder),
    }));
  if (isCancel(folder)) return cancelled();
  const template = options.template ?? (await choose('Template', TEMPLATES));
  if (isCancel(template)) return cancelled();
  const model = options.model ?? (await choose('Model', MODELS));
  if (isCancel(model)) return cancelled();
  return { folder: folder.trim(), template, model };
}

const choose = <Name extends string>(message: string, values: Readonly<Record<Name, string>>) =>
  select<Name>({
    message,
    options: (Object.keys(values) as Name[]).map((value) => ({
      value,
      label: value,
      hint: values[value],
    })) as never,
  });

function cancelled(): undefined {
  cancel('Nothing was created.');
}
