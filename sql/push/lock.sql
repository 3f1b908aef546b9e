LOCK TABLE {{ table }} IN {{ mode }} MODE{{ " NOWAIT" if nowait }};
