-- {{ why }}
CREATE {{ "UNIQUE " if unique }}INDEX IF NOT EXISTS {{ index }} ON {{ table }} ({{ columns }});
