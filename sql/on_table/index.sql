-- {{ why }}
CREATE {{ "UNIQUE " if unique }}INDEX {{ "CONCURRENTLY " if concurrently }}{{ index }} ON {{ table }} ({{ columns }});
