// A program in a CommonJS module that loads the packages with `import()`, for compilers that know no other way.
async function main(url: string): Promise<void> {
  const { connect } = await import('@fame-fabric/client/node');
  const connection = await connect({ url });
  const answer: string = await connection.conversation('chat@fame.fabric').ask('What is 6 times 7?');
  console.log(answer);
  await connection.close();
}

main(process.argv[2] ?? '').catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
