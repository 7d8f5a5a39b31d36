import { isMain } from '@fame-fabric/agents';
import { loadTeam } from '@fame-fabric/agents/team';
import { callTools, scriptedModel } from '@fame-fabric/agents/testing';

const model = scriptedModel([callTools({ name: 'route', arguments: { to: 'hello' } }), 'Hello, world!']);
const switchboard = {
  functions: [{ name: 'route', parameters: [{ name: 'to', type: 'string', enum: ['hello'] }] }],
  function_call: { name: 'route' },
  state_map: { function_name: 'route', argument_name: 'to', values_map: { hello: { agent: 'greeter' } } },
};
const greeter = { system_directives: 'You greet every visitor.' };
const models = { default: model };

export const team = await loadTeam({ start: 'switchboard', agents: { switchboard, greeter } }, { models });

if (isMain(import.meta)) {
  for await (const event of team.run('Hi!')) if (event.type === 'text') console.log(event.text);
}
