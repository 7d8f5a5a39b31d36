import { type AbilityModule, loadTeam, reply } from '@fame-fabric/agents/team';
import { callTools, scriptedModel } from '@fame-fabric/agents/testing';

const abilities: AbilityModule = {
  get_product_info: ({ product_id }: { product_id: string }) => ({ product_id, price: '49 EUR' }),
  thanks: () => 'You are welcome!',
  log_only: () => null,
  escalate: () => reply.handoff('customer_service'),
};

const switchboard = {
  system_directives: 'You sort the messages of %{company}. Today is %{today}.',
  functions: [
    {
      name: 'set_request_type',
      parameters: [
        {
          name: 'request_type',
          type: 'string',
          enum: ['get product info', 'file complaint', 'thanks and appreciation', 'log', 'spam'],
        },
        { name: 'sentiment', type: 'string' },
      ],
    },
  ],
  function_call: { name: 'set_request_type' },
  state_map: {
    function_name: 'set_request_type',
    argument_name: 'request_type',
    values_map: {
      'get product info': { agent: 'product_info', with: ['sentiment'] },
      'file complaint': { function: 'escalate' },
      'thanks and appreciation': { function: 'thanks' },
      log: { function: 'log_only' },
      spam: { ignore: 'spam' },
    },
  },
};
const getProductInfo = { name: 'get_product_info', parameters: [{ name: 'product_id', type: 'string' }] };
const productInfo = {
  system_directives: 'You advise customers. Their mood: %{handoff.sentiment}.',
  tools: [{ type: 'function' as const, function: getProductInfo }],
  tool_choice: 'auto' as const,
};

const customerService = { system_directives: 'You answer complaints.' };

const route = (request_type: string) =>
  callTools({ name: 'set_request_type', arguments: { request_type, sentiment: 'good' } });
const lookUp = callTools({ name: 'get_product_info', arguments: { product_id: '7' } });
const model = scriptedModel([
  route('get product info'),
  lookUp,
  'The lamp costs 49 EUR.',
  route('file complaint'),
  'We are sorry.',
  route('thanks and appreciation'),
  route('log'),
  route('spam'),
]);

const team = await loadTeam(
  {
    start: 'switchboard',
    agents: { switchboard, product_info: productInfo, customer_service: customerService },
  },
  { models: { default: model }, abilities: [abilities], interpolations: { company: () => 'Lumen Lamps' } },
);
for (const message of ['What does lamp 7 cost?', 'It broke!', 'Thanks!', 'A note', 'Buy cheap watches']) {
  const result = await team.run(message).result;
  console.log(result.kind, 'text' in result ? result.text : '-', result.path.join(' to '));
}
