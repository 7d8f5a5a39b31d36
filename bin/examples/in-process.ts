import { ChatAgent, defineAgent, offlineModel } from '@fame-fabric/agents';
import { inProcess } from 'fame-fabric';

const counter = defineAgent({
  address: 'counter@fame.fabric',
  tasks: {
    async start({ message }, task) {
      const words = message.parts.flatMap((part) => (part.type === 'text' ? part.text.split(' ') : []));
      for (const word of words) task.progress(word);
      return { words: words.length };
    },
  },
});
const chat = new ChatAgent({ model: offlineModel() });

await using fabric = await inProcess({ agents: [counter, chat] });
const { client } = fabric;

const conversation = client.conversation('chat@fame.fabric');
await conversation.ask('My name is Ada.');
console.log(await conversation.ask('What is my name?'));

const counting = client.task('counter@fame.fabric');
console.log(await counting.run('one two three'));
